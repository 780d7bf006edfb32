//! The faults in force: at most one for each endpoint and site.

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::fault::{Fault, InvalidFault};

/// Most faults at one time.
pub(super) const FAULTS_MAX: usize = 1_000;
/// Most bytes of bodies in all faults together.
pub(super) const BODIES_MAX: usize = 8 << 20;

/// Faults, those for one site first: a request meets the most specific one.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

/// What a fault can be about: an endpoint, and whose request it is.
pub(super) struct Target {
    pub(super) endpoint: Endpoint,
    pub(super) public_key: Option<String>,
    pub(super) site_url: Option<String>,
}

/// Which faults to remove; each part that is missing matches all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultFilter {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) public_key: Option<String>,
    pub(super) site_url: Option<String>,
}

impl Faults {
    /// Checks a fault and adds it; one of the same endpoint and site is replaced.
    pub(super) fn add(&mut self, fault: Fault) -> Result<(), InvalidFault> {
        fault.check()?;
        let others = || self.0.iter().filter(|other| !is_same(other, &fault));
        let body_len = |fault: &Fault| fault.body.as_ref().map_or(0, String::len);
        if others().count() >= FAULTS_MAX || others().map(body_len).sum::<usize>() + body_len(&fault) > BODIES_MAX {
            return Err(InvalidFault::TooMany);
        }
        self.0.retain(|other| !is_same(other, &fault));
        self.0.push(fault);
        // Stable: among equally specific faults the older one comes first.
        self.0.sort_by_key(|fault| (fault.public_key.is_none(), fault.site_url.is_none()));
        Ok(())
    }

    /// Removes the faults that a filter matches.
    pub(super) fn clear(&mut self, filter: &FaultFilter) {
        self.0.retain(|fault| !filter.matches(fault));
    }

    /// Returns the faults in force, the most specific first.
    pub(super) fn all(&self) -> &[Fault] {
        &self.0
    }

    /// Returns the fault of intake that is for every site.
    pub(super) fn of_intake(&self) -> Option<&Fault> {
        self.0.iter().find(|fault| is_same(fault, &Fault::default()))
    }

    /// Returns the fault that meets a request, and counts it.
    ///
    /// A request that a fault's percentage spares may meet the next one.
    pub(super) fn draw(&mut self, target: &Target, mut random: impl FnMut() -> u32) -> Option<Fault> {
        let meets = |fault: &Fault| target.is_of(fault) && random() % 100 < u32::from(fault.percent.unwrap_or(100));
        let at = self.0.iter().position(meets)?;
        let fault = self.0.get_mut(at)?;
        let met = fault.clone();
        if let Some(times) = fault.times {
            fault.times = std::num::NonZeroU32::new(times.get() - 1);
            if fault.times.is_none() {
                self.0.remove(at);
            }
        }
        Some(met)
    }
}

impl Target {
    fn is_of(&self, fault: &Fault) -> bool {
        let is_key = |key: &String| self.public_key.as_ref() == Some(key);
        let is_site = |url: &String| self.site_url.as_ref().is_some_and(|own| is_same_url(own, url));
        self.endpoint == fault.endpoint
            && fault.public_key.as_ref().is_none_or(is_key)
            && fault.site_url.as_ref().is_none_or(is_site)
    }
}

impl FaultFilter {
    fn matches(&self, fault: &Fault) -> bool {
        let is_url = |url: &String| fault.site_url.as_ref().is_some_and(|own| is_same_url(own, url));
        self.endpoint.is_none_or(|endpoint| endpoint == fault.endpoint)
            && self.public_key.as_ref().is_none_or(|key| fault.public_key.as_ref() == Some(key))
            && self.site_url.as_ref().is_none_or(is_url)
    }
}

/// Tells whether two faults are for the same endpoint and site.
fn is_same(one: &Fault, other: &Fault) -> bool {
    let same_url = match (&one.site_url, &other.site_url) {
        (Some(one), Some(other)) => is_same_url(one, other),
        (one, other) => one == other,
    };
    one.endpoint == other.endpoint && one.public_key == other.public_key && same_url
}

/// Compares as people write the same site: case and a trailing slash don't matter.
fn is_same_url(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).expect("a fault")
    }

    fn faults(json: &[&str]) -> Faults {
        let mut faults = Faults::default();
        for json in json {
            faults.add(fault(json)).expect("a valid fault");
        }
        faults
    }

    fn target(endpoint: Endpoint) -> Target {
        Target { endpoint, public_key: None, site_url: None }
    }

    fn statuses(faults: &Faults) -> Vec<Option<u16>> {
        faults.all().iter().map(|fault| fault.status).collect()
    }

    #[test]
    fn a_fault_is_over_after_its_times() {
        let mut current = faults(&[r#"{"status":503,"times":2}"#]);
        let intake = target(Endpoint::Intake);
        assert!(current.draw(&intake, || 99).is_some());
        assert_eq!(current.all(), [fault(r#"{"status":503,"times":1}"#)]);
        assert!(current.draw(&intake, || 0).is_some());
        assert!(current.draw(&intake, || 0).is_none() && current.all().is_empty());
        let mut lasting = faults(&[r#"{"status":503}"#]);
        assert!((0..1_000).all(|random| lasting.draw(&intake, || random).is_some()));
    }

    #[test]
    fn a_percentage_meets_its_share_and_counts_only_those() {
        let mut current = faults(&[r#"{"delay_ms":1,"percent":10,"times":11}"#]);
        let intake = target(Endpoint::Intake);
        let met = (0..100).filter(|random| current.draw(&intake, || *random).is_some()).count();
        assert_eq!((met, current.all()[0].times), (10, NonZeroU32::new(1)));
    }

    #[test]
    fn a_fault_meets_only_its_endpoint_and_its_site() {
        let mut current = faults(&[
            r#"{"status":500}"#,
            r#"{"status":501,"endpoint":"keys","site_url":"https://Acme.example"}"#,
            r#"{"status":502,"public_key":"wp_pk_a"}"#,
        ]);
        let mut status = |target: &Target| current.draw(target, || 0).and_then(|fault| fault.status);
        assert_eq!(status(&target(Endpoint::Intake)), Some(500));
        assert_eq!(status(&Target { public_key: Some("wp_pk_a".to_owned()), ..target(Endpoint::Intake) }), Some(502));
        assert_eq!(status(&Target { public_key: Some("wp_pk_b".to_owned()), ..target(Endpoint::Intake) }), Some(500));
        assert_eq!(status(&Target { public_key: Some("wp_pk_a".to_owned()), ..target(Endpoint::Verify) }), None);
        let acme = Target { site_url: Some("https://acme.example/".to_owned()), ..target(Endpoint::Keys) };
        assert_eq!((status(&acme), status(&target(Endpoint::Keys))), (Some(501), None));
    }

    #[test]
    fn a_request_that_a_percentage_spares_may_meet_the_next_fault() {
        let mut current = faults(&[r#"{"status":500}"#, r#"{"status":502,"public_key":"a","percent":10}"#]);
        let own = Target { public_key: Some("a".to_owned()), ..target(Endpoint::Intake) };
        assert_eq!(current.draw(&own, || 9).and_then(|fault| fault.status), Some(502));
        assert_eq!(current.draw(&own, || 10).and_then(|fault| fault.status), Some(500));
    }

    #[test]
    fn a_fault_replaces_the_one_of_its_endpoint_and_site_alone() {
        let mut current = faults(&[
            r#"{"status":500}"#,
            r#"{"status":501,"endpoint":"verify"}"#,
            r#"{"status":502,"site_url":"https://a.example"}"#,
            r#"{"status":503}"#,
            r#"{"status":504,"site_url":"https://A.example/"}"#,
        ]);
        assert_eq!(statuses(&current), [Some(504), Some(501), Some(503)]);
        assert_eq!(current.of_intake().and_then(|fault| fault.status), Some(503));
        let filter = |query: &str| serde_urlencoded::from_str::<FaultFilter>(query);
        current.clear(&filter("endpoint=intake&site_url=https://a.example").expect("a filter"));
        assert_eq!(statuses(&current), [Some(501), Some(503)]);
        current.clear(&filter("endpoint=verify").expect("a filter"));
        assert_eq!(statuses(&current), [Some(503)]);
        assert!(filter("endpont=verify").is_err() && filter("endpoint=x").is_err());
        current.clear(&FaultFilter::default());
        assert!(current.all().is_empty());
    }

    #[test]
    fn faults_are_bounded() {
        let mut current = Faults::default();
        let of_site = |n: usize| Fault { status: Some(500), public_key: Some(n.to_string()), ..Fault::default() };
        for n in 0..FAULTS_MAX {
            current.add(of_site(n)).expect("there is room");
        }
        assert_eq!(current.add(of_site(FAULTS_MAX)), Err(InvalidFault::TooMany));
        assert_eq!(current.add(of_site(0)), Ok(()), "it replaces one");
        let long = Fault { body: Some("x".repeat(BODIES_MAX + 1)), ..Fault::default() };
        assert_eq!(Faults::default().add(long), Err(InvalidFault::TooMany));
    }
}
