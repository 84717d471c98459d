//! Conditional requests (RFC 9110, 13): what a cache asks when it already has the page.
//!
//! The page has an entity tag. Pictures and reports have none, because each one is different: any tag that a client
//! names is not theirs. No modification dates are known here, so the fields that compare dates are ignored, as they
//! must be (13.1.3, 13.1.4).

/// The members of `If-Match` and `If-None-Match`, if the request has these fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Preconditions<'a> {
    /// The answer must have one of these tags.
    pub if_match: Option<Vec<&'a [u8]>>,
    /// The answer must have none of these tags.
    pub if_none_match: Option<Vec<&'a [u8]>>,
}

/// The result of evaluating the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// The request is answered as if it had no conditions.
    Met,
    /// The client already has what it asks for: 304.
    NotModified,
    /// What the client asks for does not exist, or the action is not allowed on what exists: 412.
    Failed,
}

impl Preconditions<'_> {
    /// Evaluates the conditions in the order of RFC 9110, 13.2.2, for something with this entity tag, or without one.
    /// `read` says whether the method is GET or HEAD; only then can the client already have the answer (13.1.2).
    pub fn evaluate(&self, tag: Option<&str>, read: bool) -> Evaluation {
        let tag = tag.map(str::as_bytes);
        let is_it = |member: &[u8]| member == b"*" || Some(member) == tag;
        // A weak tag never matches in `If-Match` (13.1.1), and counts like a strong one in `If-None-Match` (13.1.2).
        let is_nearly_it = |member: &[u8]| is_it(member.strip_prefix(b"W/").unwrap_or(member));
        let has = |members: &Vec<&[u8]>, is_it: &dyn Fn(&[u8]) -> bool| {
            members.iter().any(|member| is_it(member))
        };
        if self.if_match.as_ref().is_some_and(|all| !has(all, &is_it)) {
            return Evaluation::Failed;
        }
        match &self.if_none_match {
            Some(all) if !has(all, &is_nearly_it) => Evaluation::Met,
            Some(_) if read => Evaluation::NotModified,
            Some(_) => Evaluation::Failed,
            None => Evaluation::Met,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_as_each_field_wants_it() {
        use Evaluation::{Failed, Met, NotModified};
        let tag = Some("\"a\"");
        let evaluations = |members: &[&'static [u8]], tag| {
            let all = Some(members.to_vec());
            let if_match = Preconditions {
                if_match: all.clone(),
                if_none_match: None,
            };
            let if_none_match = Preconditions {
                if_match: None,
                if_none_match: all,
            };
            let changed = match if_none_match.evaluate(tag, true) {
                NotModified => Failed,
                other => other,
            };
            assert_eq!(if_none_match.evaluate(tag, false), changed);
            (
                if_match.evaluate(tag, true),
                if_none_match.evaluate(tag, true),
            )
        };
        for (members, tag, expected) in [
            (&[&b"\"a\""[..]][..], tag, (Met, NotModified)),
            (&[b"\"b\"", b"\"a\""], tag, (Met, NotModified)),
            (&[b"*"], tag, (Met, NotModified)),
            (&[b"W/\"a\""], tag, (Failed, NotModified)),
            (&[b"\"b\""], tag, (Failed, Met)),
            (&[b"a"], tag, (Failed, Met)),
            (&[], tag, (Failed, Met)),
            (&[b"\"a\""], None, (Failed, Met)),
            (&[b"*"], None, (Met, NotModified)),
        ] {
            assert_eq!(evaluations(members, tag), expected, "{members:?}");
        }
        assert_eq!(Preconditions::default().evaluate(tag, true), Met);
    }
}
