//! Why a post was refused, and what helps.

/// What was wrong with a post that was refused: a closed set, for notes, metrics and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    UnknownSite,
    NoCredential,
    /// A page's post to a form that pages may post, from an origin that isn't the form's.
    OtherOrigin,
    UnknownToken,
    ExpiredToken,
    /// The token is valid, for another site.
    OtherSitesToken,
    BadSignature,
    /// A key pair whose public key no site has.
    UnknownKeys,
    WrongSecretKey,
    /// No valid credential, and it isn't known what was wrong with what was shown.
    Unauthorized,
    /// No valid credential as far as is known: a broken site file may have it.
    CredentialsUnknown,
    KeysMissing,
    /// The site's own keys, which KaiCalls refuses.
    KeysRefused,
    MalformedRequest,
    HeadTooLarge,
    HeadTooSlow,
    HeadCut,
    NotFound,
    MethodNotAllowed,
    UploadTooLarge,
    BodyTooLarge,
    BodyTooSlow,
    BrokenBody,
    Busy,
    Panicked,
    RateLimited,
    FormTooLarge,
    FilesNotTaken,
    FormFull,
    StoreFull,
    StoreUnavailable,
}

/// The cure of what another version of formgate calls a mistake, and this one doesn't know.
const UNKNOWN_CURE: &str = "see the log's line of the request";

impl Mistake {
    /// Tells whether a lead may be lost with the post: somebody who only looks at a URL, or asks about keys, loses none.
    pub fn loses_a_lead(self) -> bool {
        !matches!(self, Self::MethodNotAllowed | Self::KeysMissing | Self::KeysRefused)
    }

    /// Every one there is.
    pub const ALL: [Self; 31] = [
        Self::UnknownSite,
        Self::NoCredential,
        Self::OtherOrigin,
        Self::UnknownToken,
        Self::ExpiredToken,
        Self::OtherSitesToken,
        Self::BadSignature,
        Self::UnknownKeys,
        Self::WrongSecretKey,
        Self::Unauthorized,
        Self::CredentialsUnknown,
        Self::KeysMissing,
        Self::KeysRefused,
        Self::MalformedRequest,
        Self::HeadTooLarge,
        Self::HeadTooSlow,
        Self::HeadCut,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UploadTooLarge,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::BrokenBody,
        Self::Busy,
        Self::Panicked,
        Self::RateLimited,
        Self::FormTooLarge,
        Self::FilesNotTaken,
        Self::FormFull,
        Self::StoreFull,
        Self::StoreUnavailable,
    ];

    /// Returns the mistake that a word names.
    pub fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mistake| mistake.as_str() == word)
    }

    /// One word for log, metric, note and problem type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSite => "unknown_site",
            Self::NoCredential => "no_credential",
            Self::OtherOrigin => "other_origin",
            Self::UnknownToken => "unknown_token",
            Self::ExpiredToken => "expired_token",
            Self::OtherSitesToken => "other_sites_token",
            Self::BadSignature => "bad_signature",
            Self::UnknownKeys => "unknown_keys",
            Self::WrongSecretKey => "wrong_secret_key",
            Self::Unauthorized => "unauthorized",
            Self::CredentialsUnknown => "credentials_unknown",
            Self::KeysMissing => "keys_missing",
            Self::KeysRefused => "keys_refused",
            Self::MalformedRequest => "malformed_request",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTooSlow => "head_too_slow",
            Self::HeadCut => "head_cut",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UploadTooLarge => "upload_too_large",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BrokenBody => "broken_body",
            Self::Busy => "busy",
            Self::Panicked => "panicked",
            Self::RateLimited => "rate_limited",
            Self::FormTooLarge => "form_too_large",
            Self::FilesNotTaken => "files_not_taken",
            Self::FormFull => "form_full",
            Self::StoreFull => "store_full",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}

/// Returns what helps against a mistake, in words for the operator. A word that is none gets a general answer.
pub fn cure(mistake: &str) -> &'static str {
    Mistake::read(mistake).map_or(UNKNOWN_CURE, cure_of)
}

#[expect(clippy::too_many_lines, reason = "a list, a line or two for each mistake")]
fn cure_of(mistake: Mistake) -> &'static str {
    match mistake {
        Mistake::UnknownSite => {
            "no site has this id: correct the webhook URL in the plugin, or add the site with `formgate sites add`"
        }
        Mistake::NoCredential => {
            "the URL was pasted without its `?token=…`: paste it whole, or make a new one with `formgate sites token add SITE`"
        }
        Mistake::OtherOrigin => {
            "add the page's origin to the form's `browser = { origins = […] }`, if the page is yours"
        }
        Mistake::UnknownToken => {
            "the token was cut or revoked: make a new one with `formgate sites token add SITE`, and paste the new URL"
        }
        Mistake::ExpiredToken => "make a new one with `formgate sites token add SITE`, and paste the new URL",
        Mistake::OtherSitesToken => {
            "the token is another site's: paste the URL of this one; a copied website often has both of the original"
        }
        Mistake::BadSignature => {
            "compare the site's `wpforms_secret` with the webhook's secret, and the clocks of both servers"
        }
        Mistake::UnknownKeys => {
            "no site has this public key: put the pair into the site's file, or correct it in the plugin"
        }
        Mistake::WrongSecretKey => "paste the site's secret key into the plugin again",
        Mistake::Unauthorized => "see `refused` in the log's line of the request",
        Mistake::CredentialsUnknown => {
            "a site's file is broken, so tokens can't be checked: `formgate check` shows where"
        }
        Mistake::KeysMissing => "enter both keys in the plugin: public and secret",
        Mistake::KeysRefused => {
            "KaiCalls refuses the site's keys: see `formgate keys verify SITE`, then `formgate keys rotate SITE`"
        }
        Mistake::MalformedRequest | Mistake::HeadCut => {
            "the request is no HTTP: look at the proxy between the website and formgate"
        }
        Mistake::HeadTooLarge => "the request has too long a URL or headers: have the form post its fields in the body",
        Mistake::HeadTooSlow | Mistake::BodyTooSlow => {
            "the request came in too slowly: look at the connection of the website's server, or make its uploads smaller"
        }
        Mistake::NotFound => "correct the path in the plugin: forms post to `/hooks/SITE/FORM`",
        Mistake::MethodNotAllowed => "set the webhook's method to POST; a browser that opened the URL needs nothing",
        Mistake::UploadTooLarge => "raise `[server].max_upload`, or limit the size of uploads in the form",
        Mistake::BodyTooLarge => "raise `[server].max_body`, or let the plugin send fewer fields",
        Mistake::BrokenBody => {
            "the body broke off or has a wrong length: look at the proxy between the website and formgate"
        }
        Mistake::Busy => "too many bodies were being read at once: raise `[server].max_reading`",
        Mistake::Panicked => "this is a bug of formgate: report the location that the log shows",
        Mistake::RateLimited => "raise the rate in `[limits]`, or find out what posts so often",
        Mistake::FormTooLarge => {
            "a page may post 64 KiB to a `browser` form: let it send fewer fields, or use a plugin with a token"
        }
        Mistake::FilesNotTaken => {
            "a page may not post files to a `browser` form: take the upload out of it, or use a plugin with a token"
        }
        Mistake::FormFull => {
            "the page's form has had its share of the store: look at what came with `formgate leads list`"
        }
        Mistake::StoreFull => "make room on the disk, or raise `[queue].max_size`",
        Mistake::StoreUnavailable => "the store can't be written: `formgate status` and the log say why",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_mistake_has_a_word_and_a_cure_of_its_own() {
        let words: BTreeSet<_> = Mistake::ALL.iter().map(|mistake| mistake.as_str()).collect();
        assert_eq!(words.len(), Mistake::ALL.len());
        for mistake in Mistake::ALL {
            assert_eq!(Mistake::read(mistake.as_str()), Some(mistake));
            assert_ne!(cure(mistake.as_str()), UNKNOWN_CURE, "{mistake:?}");
        }
        assert_eq!(cure("of_the_future"), UNKNOWN_CURE);
    }
}
