//! What is stored of a body, found out while it is read: file contents are cut to name and size, all else stays as it
//! came, so that decoding what is stored gives what decoding the whole would.
//!
//! A multipart body streams through: only its text is held. Any other is held whole, since nothing can be cut out of it
//! before its end is there.

mod base64;
mod parts;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use self::parts::Parts;
use super::charset::{BodyKind, Declared};
use crate::received::Part;

/// More would have to be kept than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("larger than the limit")]
pub struct TooMuchToKeep;

/// Takes a body chunk by chunk.
pub struct Keeper {
    max: usize,
    keeping: KeepMode,
}

/// How a body is kept: as it is, or part by part.
enum KeepMode {
    /// Without a type nothing is looked for in it.
    Whole {
        bytes: BufferedBody,
        declared: Option<Declared>,
    },
    Parts(Box<Parts>),
}

/// A body in memory. What comes in one piece isn't copied.
#[derive(Default)]
struct BufferedBody {
    first: Bytes,
    /// All of it, once there is a second piece.
    joined: BytesMut,
}

impl BufferedBody {
    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&chunk);
    }

    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn finish(self) -> Bytes {
        if self.joined.is_empty() { self.first } else { self.joined.freeze() }
    }
}

/// The part of a body that is kept. No `Debug`: it is personal data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeptBody {
    pub body: Bytes,
    /// Something was taken out: the contents of files, or the end of a body that is broken anyway.
    pub cut: bool,
    /// What it consists of, where it is a multipart body that is whole.
    pub parts: Option<Arc<[Part]>>,
}

impl KeptBody {
    /// Returns how many bytes it takes.
    pub fn held(&self) -> usize {
        self.body.len() + self.parts.iter().flat_map(|parts| parts.iter()).map(Part::held).sum::<usize>()
    }
}

impl Keeper {
    /// Begins a body of a type, of which at most `max` bytes may be kept and `max_upload` read.
    pub fn new(content_type: Option<&str>, max: usize, max_upload: u64) -> Self {
        let declared = Declared::read(content_type);
        let keeping = match declared.kind {
            BodyKind::Multipart => {
                KeepMode::Parts(Box::new(Parts::new(content_type.unwrap_or_default(), max, max_upload)))
            }
            _ => KeepMode::Whole { bytes: BufferedBody::default(), declared: Some(declared) },
        };
        Self { max, keeping }
    }

    /// Begins a body that is kept byte for byte, whatever it is: for those who check a signature of it.
    pub fn as_it_comes(max: usize) -> Self {
        Self { max, keeping: KeepMode::Whole { bytes: BufferedBody::default(), declared: None } }
    }

    /// Tells whether it holds less than what it is given.
    pub fn streams(&self) -> bool {
        matches!(self.keeping, KeepMode::Parts(_))
    }

    /// Returns how many bytes it holds now.
    pub fn held(&self) -> usize {
        match &self.keeping {
            KeepMode::Whole { bytes, .. } => bytes.len(),
            KeepMode::Parts(parts) => parts.held(),
        }
    }

    /// Takes the next chunk; fails as soon as it is sure that too much would have to be kept.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), TooMuchToKeep> {
        match &mut self.keeping {
            KeepMode::Whole { bytes, .. } => {
                bytes.push(chunk);
                Ok(())
            }
            KeepMode::Parts(parts) => parts.push(chunk),
        }
    }

    /// Ends the body.
    pub fn finish(self) -> Result<KeptBody, TooMuchToKeep> {
        let kept = match self.keeping {
            KeepMode::Whole { bytes, declared } => {
                let whole = bytes.finish();
                match declared.and_then(|declared| base64::cut(&whole, declared)) {
                    Some(cut) => KeptBody { body: cut.into(), cut: true, parts: None },
                    None => KeptBody { body: whole, cut: false, parts: None },
                }
            }
            KeepMode::Parts(parts) => parts.finish(),
        };
        // Nothing at all would be taken for a request without a body.
        let is_nothing = kept.cut && kept.body.is_empty();
        if is_nothing || kept.body.len() > self.max { Err(TooMuchToKeep) } else { Ok(kept) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::{Arena, DecodeError, Field, LIMITS, decode};
    use super::*;
    use crate::received::Received;

    const TYPE: &str = "multipart/form-data; boundary=XX";

    fn keep(content_type: &str, body: &[u8], max: usize, chunk: usize) -> Result<KeptBody, TooMuchToKeep> {
        let mut keeper = Keeper::new(Some(content_type), max, u64::MAX);
        for chunk in body.chunks(chunk) {
            keeper.push(Bytes::copy_from_slice(chunk))?;
        }
        keeper.finish()
    }

    fn kept(content_type: &str, body: &[u8], max: usize) -> KeptBody {
        keep(content_type, body, max, 16).unwrap_or_else(|_| panic!("more than {max}"))
    }

    fn received(content_type: &str, kept: KeptBody) -> Received {
        let headers = BTreeMap::from([("content-type".to_owned(), content_type.to_owned())]);
        let KeptBody { body, cut, parts } = kept;
        Received { method: "POST".to_owned(), headers, body, cut, parts, ..Received::default() }
    }

    /// Everything a submission tells.
    fn told(received: &Received) -> Result<String, DecodeError> {
        let arena = Arena::new();
        let submission = decode(received, &arena)?;
        let field = |field: &Field<'_>| {
            let way: Vec<String> = field
                .node
                .iter()
                .flat_map(|node| submission.document.way(*node))
                .map(|node| submission.name(node).to_owned())
                .collect();
            format!("{} {:?} {:?} {:?} {way:?}", field.key, field.label, field.kind, field.values)
        };
        let fields: Vec<_> = submission.fields.iter().map(field).collect();
        Ok(format!("{fields:?} {} {:?}", submission.json(), submission.oddities))
    }

    /// Checks that what is kept decodes to what the whole does, and returns it.
    fn same(content_type: &str, body: &[u8], chunk: usize) -> KeptBody {
        let whole = KeptBody { body: Bytes::copy_from_slice(body), ..KeptBody::default() };
        let kept = keep(content_type, body, usize::MAX, chunk).unwrap_or_else(|_| panic!("no limit"));
        let found = told(&received(content_type, kept.clone()));
        assert_eq!(found, told(&received(content_type, whole)), "{}", String::from_utf8_lossy(&kept.body));
        kept
    }

    fn part(head: &str, content: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    }

    fn text(kept: &KeptBody) -> &str {
        std::str::from_utf8(&kept.body).expect("text")
    }

    #[test]
    fn a_body_with_nothing_to_cut_stays_byte_for_byte() {
        let fields = part("name=\"a\"\r\nX-Odd:  1", "one\r\ntwo");
        let no_file = part("name=\"f\"; filename=\"\"\r\nContent-Type: application/octet-stream", "");
        let body = format!("preamble\r\n{fields}{no_file}--XX--\r\nepilogue");
        for chunk in [1, 7, 10_000] {
            let kept = same(TYPE, body.as_bytes(), chunk);
            assert_eq!((text(&kept), kept.cut), (body.as_str(), false));
        }
    }

    #[test]
    fn of_a_file_its_size_is_kept_and_the_text_around_it() {
        let file = part("name=\"f\"; filename=\"é \\\"x\\\".txt\"\r\nContent-Type: text/plain\r\nX: y", "hello\r\n-");
        let (before, after) = (part("name=\"a\"", "one\r\n--X"), part("name=\"b\"\r\nX-Y: z", ""));
        let kept = same(TYPE, format!("{before}{file}{after}--XX--").as_bytes(), 5);
        let expected = "--XX\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\none\r\n--X\r\n\
            --XX\r\ncontent-disposition: form-data; name=\"f\"; filename=\"é \\\"x\\\".txt\"\r\n\
            content-type: text/plain\r\ncontent-length: 8\r\n\r\n\r\n\
            --XX\r\ncontent-disposition: form-data; name=\"b\"\r\nx-y: z\r\n\r\n\r\n--XX--\r\n";
        assert_eq!((text(&kept), kept.cut), (expected, true));
    }

    #[test]
    fn a_file_of_any_size_leaves_only_the_text_in_memory() {
        let mut keeper = Keeper::new(Some(TYPE), 1000, u64::MAX);
        let beginning = format!("{}{}", part("name=\"a\"", "hi"), part("name=\"f\"; filename=\"big\"", ""));
        keeper.push(Bytes::from(beginning.trim_end().to_owned() + "\r\n\r\n")).expect("a beginning");
        let chunk = Bytes::from(b"\r\n--X 0123456789".repeat(4096));
        let mut held_max = 0;
        for _ in 0..(8 << 20) / chunk.len() {
            keeper.push(chunk.clone()).expect("content");
            held_max = held_max.max(keeper.held());
        }
        assert!(held_max < 500, "{held_max} bytes held");
        keeper.push(Bytes::from("\r\n--XX--")).expect("the end");
        let kept = keeper.finish().unwrap_or_else(|_| panic!("little"));
        assert!(text(&kept).contains("content-length: 8388608\r\n"), "{}", text(&kept));
    }

    #[test]
    fn the_limit_is_on_what_is_kept() {
        let file = part("name=\"f\"; filename=\"a\"", &"x".repeat(10_000));
        let small = format!("{}{file}--XX--", part("name=\"a\"", "hi"));
        assert!(kept(TYPE, small.as_bytes(), 300).cut);
        let large = format!("{file}{}--XX--", part("name=\"a\"", &"x".repeat(300)));
        assert_eq!(keep(TYPE, large.as_bytes(), 300, 64).err(), Some(TooMuchToKeep));
        let around = format!("{}--XX--{}", part("name=\"a\"", "hi"), "x".repeat(300));
        let kept = kept(TYPE, around.as_bytes(), 300);
        assert!(kept.cut && text(&kept).ends_with("--XX--\r\n"), "only what is a part counts");
        let around = format!("{}\r\n{}--XX--", "x".repeat(300), part("name=\"a\"", "hi"));
        let kept = self::kept(TYPE, around.as_bytes(), 300);
        assert!(kept.cut && text(&kept).starts_with("--XX\r\n"), "only what is a part counts");
        let mut keeper = Keeper::new(Some(TYPE), 300, u64::MAX);
        let begun = Bytes::from("--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n");
        let text = std::iter::repeat_n(Bytes::from("x".repeat(100)), 20);
        let pushes = std::iter::once(begun).chain(text).take_while(|chunk| keeper.push(chunk.clone()).is_ok()).count();
        assert!(pushes < 6, "it is refused as soon as it is sure");
        for whole in ["application/json", "application/x-www-form-urlencoded", "text/plain"] {
            assert_eq!(keep(whole, b"a=1234", 5, 2).err(), Some(TooMuchToKeep), "{whole}");
            assert!(keep(whole, b"a=1234", 6, 2).is_ok(), "{whole}");
        }
    }

    #[test]
    fn what_is_broken_is_kept_up_to_the_limit_and_stays_broken() {
        let held = |content_type: &str, body: &str, max: usize| {
            let kept = kept(content_type, body.as_bytes(), max);
            let decoded = told(&received(content_type, kept.clone()));
            assert!(decoded.is_err(), "{}", text(&kept));
            (text(&kept).to_owned(), kept.cut)
        };
        let beginning = |body: &str, length: usize| body.chars().take(length).collect::<String>();
        let message = part("name=\"a\"", "hello");
        let broken = format!("{message}--XX\r\nno header\r\n\r\n{}", "x".repeat(200));
        assert_eq!(held(TYPE, &broken, 1000), (broken.clone(), false), "no file: as it came");
        assert_eq!(held(TYPE, &broken, 100), (beginning(&broken, 100), true), "no file: its beginning");
        let half = message.trim_end();
        assert_eq!(held(TYPE, half, 1000), (half.to_owned(), false));
        let file = part("name=\"f\"; filename=\"a\"", &"x".repeat(200));
        let (content, cut) = held(TYPE, &format!("{message}{file}{half}"), 1000);
        assert!(content.contains("hello\r\n--XX\r\ncontent-disposition: form-data; name=\"f\"") && cut, "{content}");
        assert!(content.contains("content-length: 200\r\n") && content.trim_end().ends_with("hello"), "{content}");
        let (content, _) = held(TYPE, &format!("{message}{}", file.trim_end()), 1000);
        assert!(
            content.contains("hello") && content.contains("filename=\"a\"") && !content.contains("xx"),
            "{content}"
        );
        let no_part = format!("--XX--{}", "x".repeat(200));
        assert_eq!(held(TYPE, &no_part, 1000), (no_part.clone(), false));
        assert_eq!(held(TYPE, &no_part, 100), (beginning(&no_part, 100), true));
        for before in [String::new(), file] {
            let text_over = format!("{before}{}{broken}", part("name=\"b\"", &"x".repeat(2000)));
            for chunk in [16, 10_000] {
                assert_eq!(keep(TYPE, text_over.as_bytes(), 1000, chunk).err(), Some(TooMuchToKeep), "{chunk}");
            }
        }
        for unbounded in ["multipart/form-data", "multipart/form-data; boundary="] {
            assert_eq!(held(unbounded, &message, 20), (beginning(&message, 20), true), "{unbounded}");
        }
        assert_eq!(keep(TYPE, b"broken", 0, 64).err(), Some(TooMuchToKeep), "an empty body would be another request");
    }

    #[test]
    fn limits_of_decoding_hold_what_they_refuse() {
        let many = part("name=\"a\"", "").repeat(LIMITS.fields + 1) + "--XX--";
        assert!(!kept(TYPE, many.as_bytes(), usize::MAX).cut);
        let file = part("name=\"f\"; filename=\"a\"", "x");
        let kept = kept(TYPE, format!("{file}{many}").as_bytes(), usize::MAX);
        assert!(kept.cut && told(&received(TYPE, kept)).is_err());
    }

    #[test]
    fn of_base64_its_size_is_kept_and_the_text_around_it() {
        for (body, expected) in [
            (
                r#"{ "f":{"filename":"a.txt","content":"aGVs\/G8="},"n":1.50 }"#,
                r#"{ "f":{"filename":"a.txt","content":"","size":5},"n":1.50 }"#,
            ),
            (
                r#"[{"content":"aGVs","x":[1,{"filename":"b","content":"aGVsbG8hIQ=="}],"filename":"a"}]"#,
                r#"[{"content":"","size":3,"x":[1,{"filename":"b","content":"","size":7}],"filename":"a"}]"#,
            ),
            (
                r#"{"f":{"filename":"a","content":"aGVs\r\nbG8=","size":99}}"#,
                r#"{"f":{"filename":"a","content":"","size":99}}"#,
            ),
            (
                r#"{"f":{"filename":"a","type":"t","url":"u","content":"aGVs","size":"9 kB"}}"#,
                r#"{"f":{"filename":"a","type":"t","url":"u","content":"","size":3,"size":"9 kB"}}"#,
            ),
            (
                "\u{FEFF}{\"content\":{\"filename\":\"é\",\"content\":\"aGVs\"}}",
                "\u{FEFF}{\"content\":{\"filename\":\"é\",\"content\":\"\",\"size\":3}}",
            ),
        ] {
            for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", ""] {
                let kept = same(kind, body.as_bytes(), 7);
                assert_eq!((text(&kept), kept.cut), (expected, true), "{kind}");
            }
        }
    }

    #[test]
    fn what_is_no_file_in_base64_stays_as_it_came() {
        for body in [
            r#"{"filename":"a","content":"aGVs"}"#,
            r#"{"f":{"filename":"a","content":"Hello there"}}"#,
            r#"{"f":{"filename":"a","content":"aGVsbG8"}}"#,
            r#"{"f":{"filename":"a","content":""}}"#,
            r#"{"f":{"filename":1,"content":"aGVs"}}"#,
            r#"{"f":{"filename":"a","content":7,"content":"aGVs"}}"#,
            r#"{"f":{"filename":"a","content":"aGVs","b":1,"c":2,"d":3}}"#,
            r#"{"f":{"filename":"a","content":"aGVs"},}"#,
            r#"{"f":{"filename":"a","content":"aGVs"}"#,
            r#"{"f":{"\u0066ilename":1,"filename":"a","content":"aGVs"}}"#,
        ] {
            let kept = same("application/json", body.as_bytes(), 7);
            assert_eq!((text(&kept), kept.cut), (body, false));
        }
        let latin = b"{\"n\":\"caf\xe9\",\"f\":{\"filename\":\"a\",\"content\":\"aGVs\"}}";
        for charset in ["iso-8859-1", "utf-8", "utf-16"] {
            assert!(!same(&format!("application/json; charset={charset}"), latin, 7).cut, "{charset}");
        }
        let body = r#"{"f":{"filename":"a","content":"aGVs"}}"#;
        assert!(!same("application/pdf", body.as_bytes(), 7).cut, "no form at all");
    }

    #[test]
    fn a_nest_of_contents_ends() {
        let deep = "{\"content\":".repeat(100_000) + "\"filename\"";
        assert!(!same("application/json", deep.as_bytes(), 4096).cut);
    }

    fn some_part() -> impl Strategy<Value = String> {
        let content = "([a-z\r\n-]|\r\n|--XX|\r\n--X|é){0,12}";
        let name = prop_oneof![Just(String::new()), "; name=\"[a-c]?(\\[[a-c]?\\]){0,2}\"", "; name=[a-c]{0,2}"];
        let file = prop_oneof![
            3 => Just(String::new()),
            3 => "; filename=\"[a-z é\\\\;]{0,5}\"",
            1 => "; filename\\*=UTF-8''[a-z]{0,3}%C3%A9",
        ];
        let more = prop_oneof![
            Just(String::new()),
            "\r\nContent-Type: [a-z]{1,3}/[a-z]{1,3}",
            "\r\nContent-Length:  ?[0-9]{1,3}",
            "\r\nX-[a-z]: [a-z\t é]{0,4}",
        ];
        let headers = (name, file, more, content)
            .prop_map(|(name, file, more, content)| part(&format!("x{name}{file}{more}"), &content));
        let no_headers = "([a-z\r\n-]|\r\n|--XX){0,8}".prop_map(|content| format!("--XX\r\n\r\n{content}\r\n"));
        prop_oneof![8 => headers, 1 => no_headers]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_multipart_body_decodes_the_same_once_it_is_cut(
            parts in proptest::collection::vec(some_part(), 0..6),
            end in prop_oneof![Just("--XX--\r\n"), Just("--XX--"), Just("--XX--\r\nafter"), Just("--XX-"), Just("")],
            chunk in 1usize..80,
        ) {
            let body = parts.concat() + end;
            let whole = KeptBody { body: body.clone().into(), ..KeptBody::default() };
            let kept = keep(TYPE, body.as_bytes(), usize::MAX, chunk).unwrap_or_else(|_| panic!("no limit"));
            let (found, expected) = (told(&received(TYPE, kept.clone())), told(&received(TYPE, whole)));
            // Of what is broken only the beginning may be there, which breaks in another way.
            prop_assert_eq!(found.clone().ok(), expected.clone().ok(), "{}", String::from_utf8_lossy(&kept.body));
            let stored = KeptBody { parts: None, ..kept.clone() };
            prop_assert_eq!(told(&received(TYPE, stored)), found, "{}", String::from_utf8_lossy(&kept.body));
        }

        #[test]
        fn any_json_decodes_the_same_once_it_is_cut(
            names in proptest::collection::vec("filename|content|size|type|x", 0..6),
            values in proptest::collection::vec(
                prop_oneof![
                    Just(r#""aGVs""#), Just(r#""aGVsbG8=""#), Just(r#""a.txt""#), Just("7"), Just(r#""7""#), Just("null"),
                    Just(r#"{"filename":"b","content":"AAAA"}"#), Just(r#"[{"content":"AAAA","filename":"b"}]"#),
                ],
                6,
            ),
        ) {
            let members: Vec<_> = names.iter().zip(values).map(|(name, value)| format!("\"{name}\" : {value}")).collect();
            let body = format!("{{\"f\":{{{}}}}}", members.join(","));
            same("application/json", body.as_bytes(), 9);
        }
    }
}
