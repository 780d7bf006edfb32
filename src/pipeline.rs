//! The pure seam: what a site's rules make of what was received. Accept, retry, explain and the fixtures all call it.

mod hold;

pub mod honeypot;

mod mappings;

mod explanation;

mod rules;

use crate::decode::{self, Arena, DecodeError, Submission};
pub use crate::decode::{Keeper, KeptBody, TooMuchToKeep, php_json};
use crate::lead::overlay::Overlay;
use crate::lead::{Checked, Code, Draft, Extra, FieldError, FormId, Lead, Region};
use crate::map::{self, Facts, FormFacts, Mapped, MappingView, Rules};
pub use crate::map::{Fate, Mapping, OnInvalid, SetupValues};
use crate::received::Received;
pub use explanation::{ExplainedCandidate, ExplainedField, Explanation};
use hold::HoldChecks;
pub use mappings::{LAST, Mappings};
pub use rules::{FormRules, SiteRules};

/// The oddity of what could not be decoded because of a panic.
pub const DECODER_PANICKED: &str = "decoder_panicked";

/// The oddity of a request that one mapping knows and another made a lead of.
pub const FELL_BACK: &str = "fell_back";

/// What became of one submission.
#[derive(Clone, Debug)]
pub struct Processed {
    /// The form it is of: the URL's, the one whose `match` holds, `default`, or one called after the body.
    pub form: FormId,
    /// The mapping used; none where the body could not be decoded.
    pub mapping: Option<String>,
    pub oddities: Vec<String>,
    pub on_invalid: OnInvalid,
    /// The address of the page the form stands on, where the body names it.
    pub page: Option<String>,
    /// Names what the form's fields are called and typed: another one, and the form has changed.
    pub shape: Option<String>,
    pub end: End,
}

/// The one end a submission comes to in the pipeline.
#[derive(Clone, Debug)]
pub enum End {
    /// A lead to send.
    Lead { lead: Lead, fingerprint: Fingerprint },
    /// Stored, not sent.
    Held {
        hold: HoldReason,
        /// The words of a `[[hold]]` rule.
        reason: Option<String>,
        /// The lead it would be.
        lead: Option<Lead>,
        errors: Vec<FieldError>,
    },
}

/// Why the pipeline holds a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// The body can't be decoded: 400.
    Undecodable,
    /// The media type is no form and no text: 415.
    UnsupportedType,
    /// No valid lead in it, or no field at all.
    Invalid,
    /// A `[[hold]]` rule.
    Rule,
    /// No `[forms.*]` knows it and the site says `unknown_forms = "hold"`.
    UnknownForm,
    /// What auto found is less sure than the form's `auto.min` asks.
    Uncertain,
    /// It says of itself that it is a test.
    Test,
    /// The field that people don't see is filled in.
    Spam,
    /// A bug of this program, not of the sender: 200.
    Panicked,
}

/// What makes two leads of one site and form the same; SHA-256, so that it can be kept without the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// A submission with everything that was found out on the way, for those who explain it.
#[derive(Clone, Debug)]
pub struct Explained {
    pub processed: Processed,
    /// None where the body could not be decoded.
    pub explanation: Option<Explanation>,
    pub extras: Vec<Extra<'static>>,
}

/// Runs a submission through decode, map and lead. `form` is the one the URL names.
pub fn process(mappings: &Mappings, site: &SiteRules, form: Option<&FormId>, received: &Received) -> Processed {
    run(mappings, site, form, received, &Overlay::default(), |way| way.processed)
}

/// Does what [`process`] does, and keeps what was found on the way.
pub fn explain(mappings: &Mappings, site: &SiteRules, form: Option<&FormId>, received: &Received) -> Explained {
    explain_amended(mappings, site, form, received, &Overlay::default())
}

/// Does what [`explain`] does, with the fields that an operator corrected in place of those that were found.
pub fn explain_amended(
    mappings: &Mappings,
    site: &SiteRules,
    form: Option<&FormId>,
    received: &Received,
    overlay: &Overlay,
) -> Explained {
    run(mappings, site, form, received, overlay, |way| way.explained())
}

/// A submission at the end of its way, with all that was found on it.
struct Way<'a> {
    processed: Processed,
    mapped: Option<(&'a Submission<'a>, &'a Mapping, Mapped<'a>)>,
    extras: Vec<Extra<'a>>,
}

/// Room for what is made of a submission beside its decoded texts, in bytes; where it takes more, the arena grows.
const ARENA_BESIDE: usize = 4_096;

/// Runs a submission through decode, map and lead; `end` takes what it wants of it before its memory is freed.
fn run<T>(
    mappings: &Mappings,
    site: &SiteRules,
    form: Option<&FormId>,
    received: &Received,
    overlay: &Overlay,
    end: impl FnOnce(Way<'_>) -> T,
) -> T {
    let arena = Arena::with_capacity(received.body.len() + ARENA_BESIDE);
    match decode::decode(received, &arena) {
        Ok(submission) => end(mapped(mappings, site, form, received, overlay, &submission)),
        Err(error) => end(undecodable(site, form, overlay, error)),
    }
}

/// Returns what to keep where running a submission through the pipeline panicked: all of it, for a person to look at.
///
/// The caller catches the panic, and logs it: nothing here may.
pub fn panicked(site: &SiteRules, form: Option<&FormId>, overlay: &Overlay) -> Explained {
    let detail = "a bug in formgate stopped the decoding; the log has the location".to_owned();
    let explained = unread(site, form, overlay, HoldReason::Panicked, detail).explained();
    let oddities = vec![DECODER_PANICKED.to_owned()];
    Explained { processed: Processed { oddities, ..explained.processed }, ..explained }
}

fn undecodable<'a>(site: &SiteRules, form: Option<&FormId>, overlay: &Overlay, error: DecodeError) -> Way<'a> {
    let hold = match error {
        DecodeError::UnsupportedType => HoldReason::UnsupportedType,
        _ => HoldReason::Undecodable,
    };
    unread(site, form, overlay, hold, error.to_string())
}

/// Nothing is known of a submission but what the URL says of its form, and what an operator says of the lead.
fn unread<'a>(site: &SiteRules, form: Option<&FormId>, overlay: &Overlay, hold: HoldReason, detail: String) -> Way<'a> {
    let form = form.cloned().unwrap_or_else(FormId::fallback);
    let rules = site.forms.iter().find(|rules| rules.id == form);
    let errors = vec![FieldError { field: None, code: Code::Invalid, detail }];
    let region = rules.and_then(|rules| rules.region).or(site.region);
    let (end, extras) = undecodable_end(hold, errors, overlay, form.as_str(), region);
    let processed = Processed {
        on_invalid: rules.and_then(|rules| rules.on_invalid).unwrap_or_default(),
        form,
        mapping: None,
        oddities: Vec::new(),
        page: None,
        shape: None,
        end,
    };
    Way { processed, mapped: None, extras }
}

/// What can't be decoded is a lead all the same where an operator said all that one needs.
fn undecodable_end(
    hold: HoldReason,
    mut errors: Vec<FieldError>,
    overlay: &Overlay,
    form: &str,
    region: Option<Region>,
) -> (End, Vec<Extra<'static>>) {
    if !overlay.is_empty() {
        match Lead::check(overlay.apply(Draft { form_name: Some(form), region, ..Draft::default() })) {
            Ok(Checked { lead, extras }) => {
                let fingerprint = Fingerprint::of(&lead, &extras, None);
                return (End::Lead { lead, fingerprint }, extras.into_iter().map(Extra::into_owned).collect());
            }
            Err(rejection) => errors.extend(rejection.errors),
        }
    }
    (End::Held { hold, reason: None, lead: None, errors }, Vec::new())
}

fn mapped<'a>(
    mappings: &'a Mappings,
    site: &'a SiteRules,
    named: Option<&'a FormId>,
    received: &'a Received,
    overlay: &'a Overlay,
    submission: &'a Submission<'a>,
) -> Way<'a> {
    let facts = Facts { headers: &received.headers, submission, form_name: None, page: None };
    let recognised = mappings.recognise(&facts).map_or(&*NO_MAPPING, |mapping| &**mapping);
    let look = MappingView::new(submission, recognised);
    let about = look.form;
    let facts = Facts { form_name: about.name, page: about.page.or_else(|| received.header("referer")), ..facts };
    let form_rules = choose_form(site, named, &facts);
    let form = form_id(named, form_rules, &about);
    let named_mapping = form_rules.and_then(|rules| rules.mapping.as_deref());
    let own_mapping = named_mapping.and_then(|name| mappings.get(name));
    // Another mapping could make another lead of it: a person decides, or the mapping comes back.
    let lost_mapping = named_mapping.filter(|_| own_mapping.is_none()).map(|name| format!("no mapping `{name}`"));
    let mapping = own_mapping.map_or(recognised, |mapping| &**mapping);
    let rules = rules_of(mappings, mapping, form_rules, site.region);
    let own = map::apply(look, rules);
    let general = if own_mapping.is_none() { fall_back(mappings, submission, rules, &own) } else { None };
    let fell_back = general.is_some();
    let mut mapped = general.unwrap_or(own);
    if named.is_some() || form_rules.is_some() {
        let called = || &*submission.arena.alloc_str(form.as_str());
        mapped.draft.form_name = Some(mapped.draft.form_name.unwrap_or_else(called));
    }
    let rule = mapping.hold.iter().find(|rule| rule.condition.holds(&facts)).map(|rule| rule.reason.as_str());
    let held = HoldChecks {
        rule: lost_mapping.as_deref().or(rule),
        is_unknown_form: site.hold_unknown_forms && form_rules.is_none(),
        auto_min: form_rules.and_then(|rules| rules.auto_min),
        is_spam: form_rules.is_some_and(|rules| honeypot::is_filled(rules, submission)) && overlay.is_empty(),
    };
    let (end, extras) = end(submission, &mapped, overlay, held);
    let processed = Processed {
        form,
        mapping: Some(if fell_back { LAST.to_owned() } else { mapping.name.clone() }),
        oddities: oddities(submission, fell_back),
        on_invalid: form_rules.and_then(|rules| rules.on_invalid).or(mapping.on_invalid).unwrap_or_default(),
        page: mapped.form.page.map(str::to_owned),
        shape: Some(mapped.shape.to_string()),
        end,
    };
    Way { processed, mapped: Some((submission, recognised, mapped)), extras }
}

fn rules_of<'a>(
    mappings: &'a Mappings,
    mapping: &'a Mapping,
    form_rules: Option<&'a FormRules>,
    region: Option<Region>,
) -> Rules<'a> {
    Rules {
        mapping,
        own_lead: form_rules.map(|rules| &rules.lead),
        own_extras: form_rules.map(|rules| &rules.extras),
        region: form_rules.and_then(|rules| rules.region).or(region),
        dictionary: &mappings.dictionary,
        shapes: &mappings.shapes,
    }
}

/// Maps a submission anew where the mapping that knows it gives no e-mail: what was taken for a plugin's may be another's that
/// looks like it. What the first one says of the form still holds.
fn fall_back<'a>(
    mappings: &'a Mappings,
    submission: &'a Submission<'a>,
    rules: Rules<'a>,
    mapped: &Mapped<'a>,
) -> Option<Mapped<'a>> {
    let last = mappings.get(LAST).filter(|_| mapped.draft.email.is_none() && rules.mapping.name != LAST)?;
    let general = map::apply(MappingView::new(submission, last), Rules { mapping: last, ..rules });
    general.draft.email.is_some().then_some(Mapped { form: mapped.form, ..general })
}

/// Returns what was odd about the bytes, and whether the mapping that knows them found no e-mail.
fn oddities(submission: &Submission<'_>, fell_back: bool) -> Vec<String> {
    let odd = submission.oddities.iter().map(|oddity| oddity.as_str());
    odd.chain(fell_back.then_some(FELL_BACK)).map(str::to_owned).collect()
}

/// Where there is no mapping at all, nothing is known of any form.
static NO_MAPPING: std::sync::LazyLock<Mapping> = std::sync::LazyLock::new(Mapping::default);

/// Returns the form's rules: those of the URL's name, else of the first `match` that holds, else the default's.
fn choose_form<'a>(site: &'a SiteRules, named: Option<&FormId>, facts: &Facts<'_>) -> Option<&'a FormRules> {
    let by_id = |wanted: &str| site.forms.iter().find(|rules| rules.id.as_str() == wanted);
    match named {
        Some(id) => by_id(id.as_str()),
        None => {
            let matching = site.forms.iter().find(|rules| rules.matches.iter().any(|condition| condition.holds(facts)));
            matching.or_else(|| by_id(FormId::FALLBACK))
        }
    }
}

fn form_id(named: Option<&FormId>, rules: Option<&FormRules>, about: &FormFacts<'_>) -> FormId {
    let told = || [about.id, about.name].into_iter().flatten().find_map(FormId::from_text);
    named.cloned().or_else(|| rules.map(|rules| rules.id.clone())).or_else(told).unwrap_or_else(FormId::fallback)
}

fn end<'a>(
    submission: &Submission<'a>,
    mapped: &Mapped<'a>,
    overlay: &'a Overlay,
    held: HoldChecks<'_>,
) -> (End, Vec<Extra<'a>>) {
    let hold =
        |hold, reason: Option<&str>, lead, errors| End::Held { hold, reason: reason.map(str::to_owned), lead, errors };
    if submission.fields.is_empty() && overlay.is_empty() {
        let error = FieldError { field: None, code: Code::NoFields, detail: "the request had no fields".to_owned() };
        return (hold(HoldReason::Invalid, None, None, vec![error]), Vec::new());
    }
    match Lead::check(overlay.apply(mapped.draft.clone())) {
        Err(rejection) if held.is_spam => {
            (hold(HoldReason::Spam, None, None, rejection.errors), mapped.draft.extras.clone())
        }
        Ok(Checked { lead, extras }) if held.is_spam => (hold(HoldReason::Spam, None, Some(lead), Vec::new()), extras),
        Err(rejection) if mapped.is_test => {
            (hold(HoldReason::Test, None, None, rejection.errors), mapped.draft.extras.clone())
        }
        Err(rejection) => (hold(HoldReason::Invalid, held.rule, None, rejection.errors), mapped.draft.extras.clone()),
        Ok(Checked { lead, extras }) => {
            let uncertain = held.uncertain(mapped, overlay);
            let end = match (held.rule, held.is_unknown_form) {
                (Some(reason), _) => hold(HoldReason::Rule, Some(reason), Some(lead), Vec::new()),
                (None, true) => hold(HoldReason::UnknownForm, None, Some(lead), Vec::new()),
                (None, false) if mapped.is_test => hold(HoldReason::Test, None, Some(lead), Vec::new()),
                (None, false) if !uncertain.is_empty() => hold(HoldReason::Uncertain, None, Some(lead), uncertain),
                (None, false) => {
                    let fingerprint = Fingerprint::of(&lead, &extras, mapped.form.entry);
                    End::Lead { lead, fingerprint }
                }
            };
            (end, extras)
        }
    }
}

impl Fingerprint {
    /// The plugin's own name for the submission where it has one, else everything the lead says and, since a message may be
    /// cut, all extras; the e-mail either way.
    fn of(lead: &Lead, extras: &[Extra<'_>], entry: Option<&str>) -> Self {
        use sha2::{Digest, Sha256};
        let mut digest = Sha256::new();
        let mut add = |part: &str| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        };
        add(lead.email());
        match entry {
            Some(entry) => add(entry),
            None => {
                [lead.name(), lead.phone().unwrap_or_default(), lead.message()].into_iter().for_each(&mut add);
                extras.iter().flat_map(|extra| [&extra.label, &extra.value]).for_each(|text| add(text));
            }
        }
        Self(digest.finalize().into())
    }
}
