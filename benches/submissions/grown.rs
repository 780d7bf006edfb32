//! Submissions that grow, by fields or by bytes, in each encoding.

use super::Request;

const FIELDS: [usize; 5] = [10, 30, 100, 300, 1_000];
const KILOBYTES: [usize; 4] = [1, 10, 100, 1_000];
/// How many fields those have that grow by bytes.
const FEW: usize = 10;
const BOUNDARY: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";
/// A line that people could have typed, with what each encoding has to escape.
const LINE: &str = "We'd like a quote for 3 rooms & the roof, by \"Friday\" if you can: 50% now?\r\n";

/// What grows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Growth {
    Fields,
    Kilobytes,
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Urlencoded,
    Json,
    Multipart,
}

impl Growth {
    /// Returns what it is called, one and many.
    pub(crate) fn units(self) -> (&'static str, &'static str) {
        match self {
            Self::Fields => ("field", "fields"),
            Self::Kilobytes => ("KB", "KB"),
        }
    }
}

/// Makes submissions that grow: the name of the encoding, how many units, and the request.
pub(crate) fn grown(growth: Growth) -> anyhow::Result<Vec<(&'static str, usize, Request)>> {
    let mut made = Vec::new();
    for encoding in [Encoding::Urlencoded, Encoding::Json, Encoding::Multipart] {
        match growth {
            Growth::Fields => {
                for fields in FIELDS {
                    made.push((encoding.name(), fields, encoding.request(&pairs(fields, LINE))?));
                }
            }
            Growth::Kilobytes => {
                for kilobytes in KILOBYTES {
                    made.push((encoding.name(), kilobytes, long(encoding, kilobytes * 1_000)?));
                }
            }
        }
    }
    Ok(made)
}

/// Makes a request of so many bytes, or a line less: its message is as long as it takes.
fn long(encoding: Encoding, bytes: usize) -> anyhow::Result<Request> {
    let size = |lines: usize| anyhow::Ok(encoding.request(&pairs(FEW, &LINE.repeat(lines)))?.body.len());
    let none = size(0)?;
    let one_more = size(1)?;
    encoding.request(&pairs(FEW, &LINE.repeat(bytes.saturating_sub(none) / (one_more - none))))
}

fn pairs(fields: usize, message: &str) -> Vec<(String, String)> {
    let person = [("your-name", "Zoë O'Brien-Łuk"), ("your-email", "zoe@example.com"), ("your-message", message)];
    let person = person.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let more = (person.len()..fields).map(|number| (format!("field_{number}"), format!("a value of field {number}")));
    person.into_iter().chain(more).collect()
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Urlencoded => "urlencoded",
            Self::Json => "JSON",
            Self::Multipart => "multipart",
        }
    }

    fn request(self, pairs: &[(String, String)]) -> anyhow::Result<Request> {
        Ok(match self {
            Self::Urlencoded => {
                Request::posted("application/x-www-form-urlencoded", serde_urlencoded::to_string(pairs)?)
            }
            Self::Json => {
                let members = pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
                let object: serde_json::Map<String, serde_json::Value> = members.collect();
                Request::posted("application/json", serde_json::to_string(&object)?)
            }
            Self::Multipart => {
                let part = |(key, value): &(String, String)| {
                    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n")
                };
                let parts: String = pairs.iter().map(part).collect();
                Request::posted(
                    &format!("multipart/form-data; boundary={BOUNDARY}"),
                    format!("{parts}--{BOUNDARY}--\r\n"),
                )
            }
        })
    }
}
