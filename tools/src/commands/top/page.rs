//! A page of metrics, read back from Prometheus' text format.

use std::collections::BTreeMap;

/// The samples of a page, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Page {
    samples: BTreeMap<String, Vec<Sample>>,
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Sample {
    /// The value of a label, empty if there is none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }
}

impl Page {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut page = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, sample) = sample(line).ok_or_else(|| format!("line {} is no sample: {line:?}", index + 1))?;
            page.samples.entry(name.to_owned()).or_default().push(sample);
        }
        Ok(page)
    }

    /// The samples of a name.
    pub(super) fn all(&self, name: &str) -> &[Sample] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of the first sample with this name.
    pub(super) fn value(&self, name: &str) -> Option<f64> {
        self.all(name).first().map(|sample| sample.value)
    }
}

fn sample(line: &str) -> Option<(&str, Sample)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some((series, Sample { labels: Vec::new(), value }));
    };
    Some((name, Sample { labels: labels_of(labels)?, value }))
}

/// `a="b",c="d"}` as pairs.
fn labels_of(text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    let mut letters = text.chars().peekable();
    while letters.peek() != Some(&'}') {
        let name: String = letters.by_ref().take_while(|&letter| letter != '=').collect();
        if letters.next() != Some('"') {
            return None;
        }
        let mut value = String::new();
        loop {
            match letters.next()? {
                '"' => break,
                '\\' => value.push(match letters.next()? {
                    'n' => '\n',
                    escaped => escaped,
                }),
                letter => value.push(letter),
            }
        }
        labels.push((name, value));
        if letters.peek() == Some(&',') {
            letters.next();
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let text = "# HELP a A.\n# TYPE a gauge\na 1\nb{x=\"1\",y=\"q\\\"\\\\\\n\"} 2.5\nb{x=\"2\",y=\"\"} 3\nc{le=\"+Inf\"} 1\n";
        let page = Page::parse(text).expect("a page");
        assert_eq!(page.value("a"), Some(1.0));
        assert_eq!(page.all("b")[0].label("y"), "q\"\\\n");
        assert_eq!((page.all("b")[1].label("x"), page.all("b")[1].value), ("2", 3.0));
        assert_eq!(page.all("c")[0].label("le"), "+Inf");
        assert_eq!((page.value("nothing"), page.all("a")[0].label("x")), (None, ""));
    }

    #[test]
    fn what_is_no_page_is_refused_with_its_line() {
        for wrong in ["a 1\nnonsense", "a 1\nb{x=1} 2", "a 1\nb{x=\"1} 2", "a 1\nb two"] {
            assert!(Page::parse(wrong).is_err_and(|why| why.starts_with("line 2 ")), "{wrong}");
        }
    }
}
