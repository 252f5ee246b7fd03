//! What became of the lines, for the person.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Source;
use crate::client::{Delivery, Failure as DeliveryFailure};
use crate::commands::output::grouped;

/// Line numbers that are named in a message.
const LINES_NAMED_MAX: usize = 10;

/// Different reasons that are told apart; the rest is counted together.
const REASONS_MAX: usize = 8;

/// Line numbers of all sources as one sequence of tags, and the count of what became of them.
#[derive(Debug)]
pub(super) struct Report {
    sources: Vec<Source>,
    /// Of each source begun: the tag of its first line.
    first_tags: Vec<u64>,
    pub(super) given: u64,
    pub(super) acknowledged: u64,
    failed: u64,
    first_failed: BTreeSet<u64>,
    reasons: BTreeMap<String, Reason>,
}

#[derive(Debug)]
struct Reason {
    count: u64,
    remedy: Option<String>,
    may_be_stored: bool,
}

impl Report {
    pub(super) fn new(sources: Vec<Source>) -> Self {
        Self {
            sources,
            first_tags: Vec::new(),
            given: 0,
            acknowledged: 0,
            failed: 0,
            first_failed: BTreeSet::new(),
            reasons: BTreeMap::new(),
        }
    }

    /// The tag of the next line, which comes from this source.
    pub(super) fn tag(&mut self, source: usize) -> u64 {
        while self.first_tags.len() <= source {
            self.first_tags.push(self.given);
        }
        self.given += 1;
        self.given - 1
    }

    pub(super) fn source_name(&self, source: usize) -> String {
        self.sources[source].name()
    }

    pub(super) fn deliver(&mut self, delivery: &Delivery) {
        match &delivery.failure {
            None => self.acknowledged += delivery.tags.len() as u64,
            Some(failure) => delivery.tags.iter().for_each(|&tag| self.fail(tag, failure)),
        }
    }

    pub(super) fn fail(&mut self, tag: u64, failure: &DeliveryFailure) {
        self.failed += 1;
        self.first_failed.insert(tag);
        if self.first_failed.len() > LINES_NAMED_MAX {
            self.first_failed.pop_last();
        }
        let is_known = self.reasons.contains_key(&failure.reason) || self.reasons.len() < REASONS_MAX;
        let text = if is_known { failure.reason.as_str() } else { "other reasons" };
        let reason = self.reasons.entry(text.to_owned()).or_insert(Reason {
            count: 0,
            remedy: failure.remedy.clone(),
            may_be_stored: false,
        });
        reason.count += 1;
        reason.may_be_stored |= failure.may_be_stored;
    }

    /// How many lines were not acknowledged, which came first, and why; `None` if all were.
    pub(super) fn complaint(&self) -> Option<(String, Option<String>)> {
        if self.failed == 0 {
            return None;
        }
        let first: Vec<String> = self.first_failed.iter().map(|&tag| self.place(tag)).collect();
        let more = if self.failed > first.len() as u64 { ", …" } else { "" };
        let noun = if self.given == 1 { "line" } else { "lines" };
        let mut message = format!(
            "{} of {} {noun} not acknowledged: {}{more}",
            grouped(self.failed),
            grouped(self.given),
            first.join(", ")
        );
        let mut reasons: Vec<(&String, &Reason)> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, reason)| std::cmp::Reverse(reason.count));
        for (text, reason) in &reasons {
            let doubt = if reason.may_be_stored { " (may be stored nevertheless)" } else { "" };
            message += &format!("\n  {} because: {text}{doubt}", grouped(reason.count));
        }
        Some((message, reasons.first().and_then(|(_, reason)| reason.remedy.clone())))
    }

    /// `line 7`, or `FILE line 7` if there are several sources.
    fn place(&self, tag: u64) -> String {
        let source = self.first_tags.partition_point(|&first| first <= tag).saturating_sub(1);
        let line = tag - self.first_tags.get(source).copied().unwrap_or(0) + 1;
        match self.sources.as_slice() {
            [_] => format!("line {line}"),
            sources => format!("{} line {line}", sources[source].name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reason: &str) -> DeliveryFailure {
        DeliveryFailure { reason: reason.to_owned(), remedy: Some("do this".to_owned()), may_be_stored: false }
    }

    #[test]
    fn nothing_failed_is_no_complaint() {
        let mut report = Report::new(vec![Source::Standard]);
        let tag = report.tag(0);
        report.deliver(&Delivery { partition: 0, tags: vec![tag], failure: None });
        assert_eq!(report.complaint(), None);
        assert_eq!(report.acknowledged, 1);
    }

    #[test]
    fn the_first_lines_and_all_reasons_are_named() {
        let mut report = Report::new(vec![Source::Standard]);
        let tags: Vec<u64> = (0..20).map(|_| report.tag(0)).collect();
        let failed = tags[5..].iter().rev().copied().collect();
        report.deliver(&Delivery { partition: 0, tags: failed, failure: Some(failure("no room")) });
        let (message, remedy) = report.complaint().unwrap();
        assert!(message.starts_with("15 of 20 lines not acknowledged: line 6, line 7, "), "{message}");
        assert!(message.contains("line 15, …\n  15 because: no room"), "{message}");
        assert_eq!(remedy.as_deref(), Some("do this"));
    }

    #[test]
    fn lines_of_several_files_are_named_with_their_file() {
        let mut report =
            Report::new(vec![Source::File("a".into()), Source::File("b".into()), Source::File("c".into())]);
        let (_, _) = (report.tag(0), report.tag(0));
        let of_c = report.tag(2);
        report.fail(of_c, &failure("x"));
        assert!(report.complaint().unwrap().0.contains("acknowledged: c line 1"));
    }
}
