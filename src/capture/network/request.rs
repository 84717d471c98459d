//! What is sent to the camera: one `GET` for a stream, or for the next single picture; and what an answer without pictures makes of the
//! next one: it goes elsewhere on the same host, or says who asks.

use super::answer::Hint;
use super::challenge::Challenge;
use crate::capture::url::Url;

/// The most redirects that are followed, one after the other.
const HOPS: u32 = 5;

/// The parts of a request that change. It is never printed.
#[derive(Default)]
pub struct CameraRequest {
    /// The time of capture that the next picture must not have; from another lazycam, and only digits.
    after: Option<String>,
    /// Where the camera has sent us, and how many times.
    target: Option<String>,
    hops: u32,
    /// Whether one of these was for a single request.
    is_detour: bool,
    password: String,
    /// What the camera wanted to be told at last, how often it was, and whether it has shown pictures since.
    challenge: Option<Challenge>,
    told: u32,
    was_accepted: bool,
}

impl CameraRequest {
    /// The password is that of the URL's user.
    pub fn new(password: &str) -> Self {
        CameraRequest {
            password: password.into(),
            ..CameraRequest::default()
        }
    }

    /// Begins again with the URL as it was given.
    pub(super) fn restart(&mut self) {
        self.after = None;
        self.go_back();
    }

    /// The next request is for another picture. A redirect that was for one request may lead elsewhere now: to the newest picture, on cameras
    /// that name their pictures.
    pub(super) fn next(&mut self, after: Option<String>) {
        self.after = after;
        if self.is_detour {
            self.go_back();
        }
    }

    fn go_back(&mut self) {
        self.target = None;
        self.hops = 0;
        self.is_detour = false;
    }

    /// Pictures have come.
    pub(super) fn was_accepted(&mut self) {
        self.was_accepted = true;
    }

    /// Whether another request may be answered better after this hint.
    pub fn follow(&mut self, url: &Url, hint: &Hint) -> bool {
        match hint {
            Hint::Elsewhere(location, for_good) => {
                self.hops += 1;
                self.is_detour |= !for_good;
                let target = url.target_after(self.target.as_deref(), location);
                let is_new = self.hops <= HOPS && target.is_some();
                if is_new {
                    self.target = target;
                }
                is_new
            }
            // An answer that is refused was a wrong one, except that the camera may have forgotten its challenge since it accepted it.
            Hint::Challenge(challenge) => {
                let may_try = url.user.is_some() && (self.told == 0 || self.was_accepted);
                self.challenge = may_try.then(|| challenge.clone());
                (self.told, self.was_accepted) = (0, false);
                may_try
            }
        }
    }

    /// The bytes to send.
    pub fn text(&mut self, url: &Url) -> String {
        let target = self.target.as_deref().unwrap_or(url.target());
        let separator = match target.contains('?') {
            true => '&',
            false => '?',
        };
        // It waits for less time than we do.
        let after = self.after.as_ref();
        let after = after.map_or(String::new(), |after| {
            format!("{separator}after={after}&timeout=8")
        });
        let target = format!("{target}{after}");
        let authorization = match (&self.challenge, &url.user) {
            (Some(challenge), Some(user)) => {
                self.told = self.told.saturating_add(1);
                let answer = challenge.answer(user, &self.password, &target, self.told);
                format!("Authorization: {answer}\r\n")
            }
            _ => String::new(),
        };
        format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: lazycam/{}\r\n{authorization}\r\n",
            url.authority(),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(nonce: &str) -> Hint {
        let field = format!("Digest realm=\"x\", nonce=\"{nonce}\"");
        Hint::Challenge(Challenge::best([field.as_str()].into_iter()).unwrap())
    }

    #[test]
    fn a_wrong_password_is_sent_once_and_a_forgotten_challenge_is_answered_anew() {
        let url: Url = "http://user@cam/x".parse().unwrap();
        let mut request = CameraRequest::new("secret");
        request.restart();
        assert!(!request.text(&url).contains("Authorization"));
        assert!(request.follow(&url, &challenge("1")));
        assert!(request.text(&url).contains("nonce=\"1\""));
        request.was_accepted();
        assert!(request.text(&url).contains("nonce=\"1\""));
        assert!(request.follow(&url, &challenge("2")));
        assert!(request.text(&url).contains("nonce=\"2\""));
        assert!(!request.follow(&url, &challenge("3")));
        assert!(!request.text(&url).contains("Authorization"));
        assert!(request.follow(&url, &challenge("4")));
        assert!(request.text(&url).contains("nonce=\"4\""));
        let nobody: Url = "http://cam/x".parse().unwrap();
        assert!(!CameraRequest::new("").follow(&nobody, &challenge("1")));
    }

    #[test]
    fn redirects_are_followed_on_the_same_host_and_not_for_ever() {
        let url: Url = "http://cam:81/a/b?c".parse().unwrap();
        let mut request = CameraRequest::new("");
        let mut go = |to: &str| request.follow(&url, &Hint::Elsewhere(to.into(), true));
        assert!(!go("http://other:81/"));
        assert!(go("/d") && go("/e") && go("/f?g") && go("/h"));
        assert!(!go("/i"));
        request.next(Some("1.5".into()));
        assert!(
            request
                .text(&url)
                .starts_with("GET /h?after=1.5&timeout=8 HTTP/1.1\r\nHost: cam:81\r\n")
        );
        request.restart();
        assert!(request.text(&url).starts_with("GET /a/b?c HTTP/1.1\r\n"));
    }

    #[test]
    fn a_redirect_that_is_not_for_good_is_asked_for_again_for_each_picture() {
        let url: Url = "http://cam/newest".parse().unwrap();
        let mut request = CameraRequest::new("");
        for number in 1..=9 {
            assert!(request.text(&url).starts_with("GET /newest HTTP/1.1\r\n"));
            let newest = Hint::Elsewhere(format!("/{number}.jpg"), false);
            assert!(request.follow(&url, &newest));
            assert!(
                request
                    .text(&url)
                    .starts_with(&format!("GET /{number}.jpg "))
            );
            request.next(None);
        }
    }
}
