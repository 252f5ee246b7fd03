use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::connect::Connect;
use super::failure::{Failure, Outcome};
use super::output::{Done, Output, OutputArgs, print, print_json, table};
use crate::client::config_admin::{self, Change, Kind, Property, Resource};
use crate::client::{Cluster, nearest};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List everything that is set while the cluster runs
    #[command(after_help = "\
Examples:
  skein config list
  skein config list topic
  skein config list --output json | jq '.[] | select(.type == \"group\")'")]
    List(ListArgs),
    /// Show the configuration of a topic, a broker, all brokers, a group or a client metrics subscription
    #[command(after_help = "\
Examples:
  skein config get topic orders
  skein config get topic orders retention.ms segment.bytes
  skein config get broker 1 --all
  skein config get broker-default
  skein config get group billing --all --output json")]
    Get(GetArgs),
    /// Set properties; a change has its effect at once
    #[command(after_help = "\
Examples:
  skein config set topic orders retention.ms=86400000 segment.bytes=104857600
  skein config set topic users cleanup.policy+=compact
  skein config set broker 1 log.retention.ms=604800000
  skein config set broker-default message.max.bytes=2097152
  skein config set group billing consumer.session.timeout.ms=60000
  skein config set client-metrics slow interval.ms=30000 match=client_id=billing.* metrics=org.apache.kafka.consumer.
  skein config set topic orders retention.ms=1000 --dry-run

+= adds items to a list, -= takes items from it.")]
    Set(SetArgs),
    /// Unset properties, so that their defaults hold again
    #[command(after_help = "\
Examples:
  skein config unset topic orders retention.ms segment.bytes
  skein config unset broker-default message.max.bytes
  skein config unset client-metrics slow interval.ms match metrics")]
    Unset(UnsetArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum KindArg {
    #[value(alias = "topics")]
    Topic,
    #[value(alias = "brokers")]
    Broker,
    BrokerDefault,
    #[value(alias = "groups")]
    Group,
    ClientMetrics,
}

impl From<KindArg> for Kind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Topic => Kind::Topic,
            KindArg::Broker => Kind::Broker,
            KindArg::BrokerDefault => Kind::BrokerDefault,
            KindArg::Group => Kind::Group,
            KindArg::ClientMetrics => Kind::ClientMetrics,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only of this type
    #[arg(value_enum, value_name = "TYPE")]
    kind: Option<KindArg>,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// What has the configuration
    #[arg(value_enum, value_name = "TYPE")]
    kind: KindArg,

    /// Its name (a broker's is its id; broker-default has none), then the properties to show
    #[arg(value_name = "NAME [PROPERTY]")]
    words: Vec<String>,

    /// Also what is not set on it
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    alter: AlterArgs,

    /// Its name (a broker's is its id; broker-default has none), then what is to be set
    #[arg(value_name = "NAME PROPERTY=VALUE", required = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnsetArgs {
    #[command(flatten)]
    alter: AlterArgs,

    /// Its name (a broker's is its id; broker-default has none), then the properties to unset
    #[arg(value_name = "NAME PROPERTY", required = true)]
    words: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct AlterArgs {
    /// What has the configuration
    #[arg(value_enum, value_name = "TYPE")]
    kind: KindArg,

    /// Only check whether it could be done
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::List(args) => list(&args),
        Command::Get(args) => get(&args),
        Command::Set(args) => alter(&args.alter, &args.words, assignment),
        Command::Unset(args) => alter(&args.alter, &args.words, |name| Ok((name.to_owned(), Change::Unset))),
    }
}

/// The resource that words on the command line begin with, and the rest of them.
fn resource(kind: KindArg, words: &[String]) -> Outcome<(Resource, &[String])> {
    let kind = Kind::from(kind);
    if kind == Kind::BrokerDefault {
        return Ok((Resource { kind, name: String::new() }, words));
    }
    let Some((name, rest)) = words.split_first() else {
        return Err(Failure::Usage(format!("which {kind}? Its name comes after the type")));
    };
    if kind == Kind::Broker && name.parse::<i32>().is_err() {
        return Err(Failure::Usage(format!(
            "{name:?} is no broker: a broker's name is its id, a number; all of them are broker-default"
        )));
    }
    Ok((Resource { kind, name: name.clone() }, rest))
}

/// `NAME=VALUE`, `NAME+=ITEMS` or `NAME-=ITEMS`.
fn assignment(word: &str) -> Outcome<(String, Change)> {
    let wrong = || Failure::Usage(format!("{word:?}: a property is set as NAME=VALUE, NAME+=ITEM or NAME-=ITEM"));
    let (name, value) = word.split_once('=').ok_or_else(wrong)?;
    let value = value.to_owned();
    let (name, change) = match (name.strip_suffix('+'), name.strip_suffix('-')) {
        (Some(name), _) => (name, Change::Append(value)),
        (_, Some(name)) => (name, Change::Subtract(value)),
        _ => (name, Change::Set(value)),
    };
    if name.is_empty() { Err(wrong()) } else { Ok((name.to_owned(), change)) }
}

fn list(args: &ListArgs) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let kinds = args.kind.map_or(Kind::ALL.to_vec(), |kind| vec![kind.into()]);
    let mut set = Vec::new();
    for (resource, properties) in described(&mut cluster, &kinds)? {
        let own = properties.into_iter().filter(|property| property.is_own);
        set.extend(own.map(|property| (resource.clone(), property)));
    }
    if args.output.output == Output::Json {
        let documents: Vec<Value> = set
            .iter()
            .map(|(resource, property)| {
                json!({
                    "type": resource.kind.to_string(), "resource": resource.name, "name": property.name,
                    "value": property.value,
                })
            })
            .collect();
        return print_json(&json!(documents));
    }
    let rows = set
        .iter()
        .map(|(resource, property)| {
            vec![resource.kind.to_string(), resource.name.clone(), property.name.clone(), shown(property)]
        })
        .collect();
    print(&table(&["TYPE", "NAME", "PROPERTY", "VALUE"], rows))
}

/// All resources of these types with their properties; topics that go meanwhile are left out.
fn described(cluster: &mut Cluster, kinds: &[Kind]) -> Outcome<Vec<(Resource, Vec<Property>)>> {
    let mut described = Vec::new();
    for &kind in kinds {
        let resources = config_admin::resources(cluster, &[kind])?;
        // A broker is asked for itself only.
        let at_once = if kind == Kind::Broker { 1 } else { usize::MAX };
        for some in resources.chunks(at_once.min(resources.len().max(1))) {
            match config_admin::describe(cluster, some) {
                Ok(properties) => described.extend(some.iter().cloned().zip(properties)),
                Err(error) if config_admin::is_unknown(&error) => {
                    for one in some {
                        if let Ok(properties) = config_admin::describe(cluster, std::slice::from_ref(one)) {
                            described.extend(std::iter::once(one.clone()).zip(properties));
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(described)
}

fn get(args: &GetArgs) -> Outcome {
    let (resource, names) = resource(args.kind, &args.words)?;
    let mut cluster = args.connect.cluster()?;
    if resource.kind == Kind::Topic {
        cluster.require_topics(std::slice::from_ref(&resource.name))?;
    }
    let properties = config_admin::describe(&mut cluster, std::slice::from_ref(&resource))?.remove(0);
    if let Some(unknown) = names.iter().find(|name| !properties.iter().any(|property| property.name == **name)) {
        return Err(no_property(&resource, unknown, &properties));
    }
    let wanted = |property: &&Property| match names {
        [] => args.all || property.is_own,
        names => names.contains(&property.name),
    };
    let chosen: Vec<&Property> = properties.iter().filter(wanted).collect();
    if args.output.output == Output::Json {
        let documents: Vec<Value> = chosen.iter().map(|property| document(property)).collect();
        return print_json(&json!(documents));
    }
    if chosen.is_empty() {
        return print(&format!("nothing is set on {resource}; --all shows what holds instead"));
    }
    let rows = chosen.iter().map(|property| vec![property.name.clone(), shown(property), property.source.to_owned()]);
    print(&table(&["PROPERTY", "VALUE", "FROM"], rows.collect()))
}

fn no_property(resource: &Resource, name: &str, properties: &[Property]) -> Failure {
    let message = match resource.kind {
        Kind::BrokerDefault => format!("{name} is not set on {resource}"),
        _ => format!("{resource} has no property {name}"),
    };
    let near = nearest::names(name, properties.iter().map(|property| property.name.as_str()));
    match &near[..] {
        [] => Failure::failed(message),
        near => Failure::with_remedy(message, format!("did you mean {}?", near.join(" or "))),
    }
}

fn shown(property: &Property) -> String {
    match &property.value {
        Some(value) => value.clone(),
        None if property.is_secret => "[hidden]".to_owned(),
        None => "-".to_owned(),
    }
}

fn document(property: &Property) -> Value {
    json!({
        "name": property.name, "value": property.value, "from": property.source, "own": property.is_own,
        "read_only": property.is_read_only, "secret": property.is_secret, "documentation": property.documentation,
    })
}

/// Changes what the words name, each by what `change` makes of it.
fn alter(args: &AlterArgs, words: &[String], change: impl Fn(&str) -> Outcome<(String, Change)>) -> Outcome {
    let (resource, words) = resource(args.kind, words)?;
    let changes = words.iter().map(|word| change(word)).collect::<Outcome<Vec<_>>>()?;
    if changes.is_empty() {
        return Err(Failure::Usage("which properties? They come last".to_owned()));
    }
    let mut done = Done::new(args.output);
    let outcome = altered(&args.connect, &resource, &changes, args.dry_run, &mut done);
    done.finish(outcome)
}

fn altered(
    connect: &Connect,
    resource: &Resource,
    changes: &[(String, Change)],
    dry_run: bool,
    done: &mut Done,
) -> Outcome {
    let mut cluster = connect.cluster()?;
    if resource.kind == Kind::Topic {
        cluster.require_topics(std::slice::from_ref(&resource.name))?;
    }
    config_admin::alter(&mut cluster, resource, changes, dry_run)?;
    let would = if dry_run { "would be " } else { "" };
    for (name, change) in changes {
        let (what, sign, value) = match change {
            Change::Set(value) => ("set", "=", Some(value)),
            Change::Append(items) => ("set", "+=", Some(items)),
            Change::Subtract(items) => ("set", "-=", Some(items)),
            Change::Unset => ("unset", "", None),
        };
        let assigned = value.map(|value| format!("{sign}{value}")).unwrap_or_default();
        let document = json!({
            "type": resource.kind.to_string(), "resource": resource.name, "name": name, "value": value,
            "operation": match change {
                Change::Set(_) => "set",
                Change::Append(_) => "append",
                Change::Subtract(_) => "subtract",
                Change::Unset => "unset",
            },
            "dry_run": dry_run,
        });
        done.tell(&format!("{would}{what} on {resource}: {name}{assigned}"), document)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn assignments_set_and_add_and_take() {
        let read = |word: &str| assignment(word).expect(word);
        assert_eq!(read("a.b=1"), ("a.b".to_owned(), Change::Set("1".to_owned())));
        assert_eq!(read("match=client_id=x"), ("match".to_owned(), Change::Set("client_id=x".to_owned())));
        assert_eq!(read("a+=x,y"), ("a".to_owned(), Change::Append("x,y".to_owned())));
        assert_eq!(read("a-=x"), ("a".to_owned(), Change::Subtract("x".to_owned())));
        assert_eq!(read("a="), ("a".to_owned(), Change::Set(String::new())));
        for word in ["a", "=1", "+=1", ""] {
            assert!(matches!(assignment(word), Err(Failure::Usage(_))), "{word:?}");
        }
    }

    #[test]
    fn every_type_but_the_broker_default_has_a_name() {
        let given = words(&["orders", "retention.ms"]);
        let (topic, rest) = resource(KindArg::Topic, &given).expect("a name");
        assert_eq!((topic.name.as_str(), rest), ("orders", &given[1..]));
        let (all, rest) = resource(KindArg::BrokerDefault, &given).expect("no name");
        assert_eq!((all.name.as_str(), rest.len()), ("", 2));
        assert!(resource(KindArg::Group, &[]).is_err());
        assert!(resource(KindArg::Broker, &words(&["one"])).is_err());
    }
}
