//! Who is compared with whom.

/// A broker program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerKind {
    /// This program.
    Skein,
    /// Apache Kafka.
    Kafka,
    /// Another broker that speaks Kafka's protocol, by the name it was given.
    Other(String),
}

/// A server with topics of certain configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestant {
    /// In the names of figures.
    pub id: String,
    /// For people.
    pub title: String,
    /// The program.
    pub server: ServerKind,
    /// Configurations of the topics.
    pub topic_configs: Vec<(String, String)>,
}

/// Two contestants that are compared, by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// In the names of figures.
    pub id: &'static str,
    /// For people.
    pub title: &'static str,
    /// What is to be shown good.
    pub ours: &'static str,
    /// What it is compared with.
    pub theirs: &'static str,
}

/// The lanes: what promises the same, and the headline.
pub const LANES: [Lane; 3] = [
    Lane { id: "durable", title: "durable against durable", ours: "skein-durable", theirs: "kafka-durable" },
    Lane { id: "cached", title: "cached against cached", ours: "skein-cached", theirs: "kafka-default" },
    Lane {
        id: "headline",
        title: "headline: skein durable against Kafka's default",
        ours: "skein-durable",
        theirs: "kafka-default",
    },
];

impl Contestant {
    /// Whether it acknowledges only what is on the disk.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.id.ends_with("-durable")
    }

    fn new(id: &str, title: &str, server: ServerKind, config: Option<(&str, &str)>) -> Self {
        let topic_configs = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { id: id.to_owned(), title: title.to_owned(), server, topic_configs }
    }

    /// Those of the servers that are there, in the order in which reports show them.
    #[must_use]
    pub fn all(with_kafka: bool, others: &[String]) -> Vec<Self> {
        let mut all = vec![
            Self::new("skein-durable", "skein, durable", ServerKind::Skein, Some(("skein.durability", "durable"))),
            Self::new("skein-cached", "skein, cached", ServerKind::Skein, Some(("skein.durability", "cached"))),
        ];
        if with_kafka {
            all.push(Self::new(
                "kafka-durable",
                "Kafka, flush.messages=1",
                ServerKind::Kafka,
                Some(("flush.messages", "1")),
            ));
            all.push(Self::new("kafka-default", "Kafka, default", ServerKind::Kafka, None));
        }
        all.extend(others.iter().map(|name| Self::new(name, name, ServerKind::Other(name.clone()), None)));
        all
    }
}
