//! The page at `/`: a single response, with no further files and nothing from other servers.
//!
//! Style and script are part of the page, and its Content-Security-Policy allows them by their hashes. So the page
//! needs no paths of its own, which the prefix of a proxy would break, and no script but ours can run in it. The
//! policy does not forbid framing: dashboards show cameras in frames, and there is nothing on the page that a click
//! could harm, as the panel for controls is not there in a frame.
//!
//! What the page does is described in `docs/http.md`. Without JavaScript, it is a still picture, which browsers that know no
//! multipart show as well, and leads to the stream.

/// The document as far as its script.
const PAGE: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n",
    include_str!("page/head.html"),
    "<style>\n",
    include_str!("page/style.css"),
    "</style>\n</head>\n",
    include_str!("page/body.html"),
    "<script type=\"module\">\n",
    include_str!("page/script.js"),
    include_str!("page/grid.js"),
    include_str!("page/controls.js"),
);

/// What the script has more where controls of cameras can be set.
const PANEL: &str = include_str!("page/panel.js");

const END: &str = "</script>\n</body>\n</html>\n";

/// The whole document, with the panel for controls or without.
pub(in crate::server) fn document(panel: bool) -> String {
    [PAGE, if panel { PANEL } else { "" }, END].concat()
}

/// The header fields that are sent with the page. `img-src data:` is for the icon; the stream in an `<img>`,
/// snapshots and `/state` come under `'self'`. The second script is that with the panel. A test computes the hashes and prints the values that they should
/// have.
pub(in crate::server) const FIELDS: &str = "Content-Security-Policy: default-src 'none'; \
     script-src 'sha256-RWWnAU18R8nC928Nlp1G4c1hlB92akFj4bxQ1k3vvQ8=' 'sha256-IhgE4/mGYr8fh4SKA+kAdSBIi9vhhnZBhtBsXHM4z+c='; \
     style-src 'sha256-m49IkG5epZur5kydJf0CUcZg4Y85mrLVYaxqN3tsKFM='; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'\r\n\
     X-Content-Type-Options: nosniff\r\n\
     Referrer-Policy: no-referrer\r\n";

/// FNV-1a over the whole page, so that it differs for every version of the page.
const DIGEST: u64 = digest(digest(0xcbf2_9ce4_8422_2325, PAGE), PANEL);

const fn digest(mut digest: u64, text: &str) -> u64 {
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        digest = (digest ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    digest
}

/// The entity tag (RFC 9110, 8.8.3). A browser that already has the page revalidates it by this tag, and gets only a
/// head.
pub(in crate::server) fn tag(panel: bool) -> String {
    format!("\"{:016x}\"", DIGEST ^ u64::from(panel))
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};
    use sha2::{Digest, Sha256};

    use super::*;

    /// The source that allows the text between `start` and the end of that element.
    fn source_of(page: &str, start: &str) -> String {
        let (_, rest) = page.split_once(start).unwrap();
        let end = if start.contains("style") {
            "</style"
        } else {
            "</script"
        };
        let (text, _) = rest.split_once(end).unwrap();
        let hash = Base64::encode_string(&Sha256::digest(text));
        format!("'sha256-{hash}'")
    }

    #[test]
    fn the_policy_names_the_style_and_the_script_that_are_in_the_page() {
        let script = |panel| source_of(&document(panel), "<script type=\"module\">");
        let style = source_of(PAGE, "<style>");
        let wanted = [
            format!("script-src {} {};", script(false), script(true)),
            format!("style-src {style};"),
        ];
        let named = wanted.iter().all(|directive| FIELDS.contains(directive));
        assert!(named, "page.rs must say:\n{}", wanted.join("\n"));
    }

    #[test]
    fn the_page_weighs_less_than_41_kib_and_47_with_the_panel() {
        let [plain, panel] = [false, true].map(|panel| document(panel).len());
        assert!(plain < 41 * 1024 && panel < 47 * 1024, "{plain}, {panel}");
    }

    #[test]
    fn the_page_with_the_panel_is_another_one() {
        assert_ne!(tag(false), tag(true));
        assert!(document(true).contains("new Map(); // name") && !PAGE.contains("'controls'"));
    }

    /// The policy blocks a style or a handler in an attribute, and most people would never see why.
    #[test]
    fn nothing_in_the_page_needs_more_than_the_policy_allows() {
        let markup = include_str!("page/body.html");
        for attribute in ["style=", "onclick=", "onload=", "onerror=", "javascript:"] {
            assert!(!markup.contains(attribute), "{attribute}");
        }
        let page = document(true);
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("<style").count(), 1);
    }

    /// A URL that begins with a slash would leave the path of the camera and the prefix of a proxy.
    #[test]
    fn addresses_in_the_page_are_relative() {
        for attribute in ["href", "src"] {
            for (at, _) in PAGE.match_indices(&format!("{attribute}=\"")) {
                let address = &PAGE[at + attribute.len() + 2..];
                let ours = ["stream\"", "snapshot\"", "\"", "data:"]
                    .iter()
                    .any(|start| address.starts_with(start));
                assert!(ours, "{}", &address[..address.len().min(60)]);
            }
        }
    }
}
