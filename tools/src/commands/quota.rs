use clap::Subcommand;
use serde_json::json;

use super::connect::Connect;
use super::failure::{Failure, Outcome};
use super::output::{Output, OutputArgs, print, print_json, table};
use crate::client::quota::{self, Entity, Quota};

/// What can be limited, with its unit.
const KEYS: [(&str, &str); 5] = [
    ("producer_byte_rate", "bytes per second produced"),
    ("consumer_byte_rate", "bytes per second fetched"),
    ("request_percentage", "percent of one core spent on requests"),
    ("controller_mutation_rate", "partitions created and deleted per second"),
    ("connection_creation_rate", "connections per second from an address"),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what is limited, and for whom
    #[command(
        after_help = "Examples:\n  skein quota list\n  skein quota list --client-id billing\n  skein quota list --output json"
    )]
    List(Of),
    /// Limit what a user, a client id or an address may use of each node
    #[command(after_help = "\
Examples:
  skein quota set --client-id billing producer_byte_rate=10M consumer_byte_rate=20M
  skein quota set --client-id-default request_percentage=50
  skein quota set --user alice --client-id reports consumer_byte_rate=1Mi
  skein quota set --ip 10.0.0.7 connection_creation_rate=20

Keys: producer_byte_rate and consumer_byte_rate (bytes per second), request_percentage (of one core),
controller_mutation_rate (partitions created and deleted per second), connection_creation_rate (per second, for --ip).
Numbers take k, M, G (1000 and its powers) and Ki, Mi, Gi (1024 and its powers).
Clients that have not authenticated themselves are the user ANONYMOUS. The most specific limit counts:
user with client id, user, client id. Who is over a limit is made to wait; nothing is refused or lost.")]
    Set(SetArgs),
    /// Remove limits
    #[command(after_help = "\
Examples:
  skein quota unset --client-id billing producer_byte_rate
  skein quota unset --client-id billing            all of its limits")]
    Unset(UnsetArgs),
}

/// Whom a quota is for.
#[derive(Debug, clap::Args)]
struct EntityArgs {
    /// A user
    #[arg(long, value_name = "NAME", conflicts_with_all = ["user_default", "ip", "ip_default"])]
    user: Option<String>,

    /// Every user who has no limits of their own
    #[arg(long, conflicts_with_all = ["ip", "ip_default"])]
    user_default: bool,

    /// A client id
    #[arg(long, value_name = "ID", conflicts_with_all = ["client_id_default", "ip", "ip_default"])]
    client_id: Option<String>,

    /// Every client id that has no limits of its own
    #[arg(long, conflicts_with_all = ["ip", "ip_default"])]
    client_id_default: bool,

    /// An address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "ip_default")]
    ip: Option<String>,

    /// Every address that has no limits of its own
    #[arg(long)]
    ip_default: bool,
}

impl EntityArgs {
    fn entity(&self) -> Entity {
        let types = [
            ("user", &self.user, self.user_default),
            ("client-id", &self.client_id, self.client_id_default),
            ("ip", &self.ip, self.ip_default),
        ];
        let given = types.into_iter().filter(|(_, name, default)| name.is_some() || *default);
        Entity(given.map(|(kind, name, _)| (kind.to_owned(), name.clone())).collect())
    }

    /// The entity, of which there has to be one.
    fn required(&self) -> Outcome<Entity> {
        let entity = self.entity();
        if entity.0.is_empty() {
            return Err(Failure::with_remedy(
                "no user, client id or address is named",
                "say whom the quota is for: --user, --client-id or --ip, or one of --user-default, \
                 --client-id-default, --ip-default",
            ));
        }
        Ok(entity)
    }
}

/// Whose quotas, where.
#[derive(Debug, clap::Args)]
pub(super) struct Of {
    #[command(flatten)]
    entity: EntityArgs,

    #[command(flatten)]
    connect: Connect,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct SetArgs {
    /// What to limit, and to how much
    #[arg(required = true, value_name = "KEY=NUMBER", value_parser = limit)]
    limits: Vec<(String, f64)>,

    #[command(flatten)]
    of: Of,
}

#[derive(Debug, clap::Args)]
pub(super) struct UnsetArgs {
    /// What to limit no more; everything if nothing is named
    #[arg(value_name = "KEY", value_parser = key)]
    keys: Vec<String>,

    #[command(flatten)]
    of: Of,
}

pub(super) fn run(command: Command) -> Outcome {
    match command {
        Command::List(args) => list(&args),
        Command::Set(args) => set(&args),
        Command::Unset(args) => unset(&args),
    }
}

fn list(args: &Of) -> Outcome {
    let mut cluster = args.connect.cluster()?;
    let quotas = quota::quotas(&mut cluster, &args.entity.entity())?;
    if args.output.output == Output::Json {
        return print_json(&json!(quotas.iter().map(to_json).collect::<Vec<_>>()));
    }
    if quotas.is_empty() {
        return print("nothing is limited; `skein quota set --help` shows how");
    }
    let rows = quotas.iter().flat_map(|quota| {
        let row = |(key, value): &(String, f64)| {
            let unit = KEYS.iter().find(|(name, _)| name == key).map_or("", |(_, unit)| unit);
            vec![quota.entity.to_string(), key.clone(), number(*value), unit.to_owned()]
        };
        quota.limits.iter().map(row)
    });
    print(&table(&["FOR", "KEY", ">LIMIT", "UNIT"], rows.collect()))
}

fn set(args: &SetArgs) -> Outcome {
    let entity = args.of.entity.required()?;
    let limits: Vec<_> = args.limits.iter().map(|(key, value)| (key.clone(), Some(*value))).collect();
    change(&args.of, &entity, &limits)
}

fn unset(args: &UnsetArgs) -> Outcome {
    let entity = args.of.entity.required()?;
    let keys = if args.keys.is_empty() {
        let mut cluster = args.of.connect.cluster()?;
        let mut quotas = quota::quotas(&mut cluster, &entity)?;
        quotas.retain(|quota| is_same(&quota.entity, &entity));
        quotas.into_iter().flat_map(|quota| quota.limits).map(|(key, _)| key).collect()
    } else {
        args.keys.clone()
    };
    let limits: Vec<_> = keys.into_iter().map(|key| (key, None)).collect();
    change(&args.of, &entity, &limits)
}

fn is_same(a: &Entity, b: &Entity) -> bool {
    let sorted = |entity: &Entity| {
        let mut parts = entity.0.clone();
        parts.sort();
        parts
    };
    sorted(a) == sorted(b)
}

fn change(of: &Of, entity: &Entity, limits: &[(String, Option<f64>)]) -> Outcome {
    let mut cluster = of.connect.cluster()?;
    quota::alter_quota(&mut cluster, entity, limits)?;
    if of.output.output == Output::Json {
        let limits: serde_json::Map<_, _> = limits.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        return print_json(&json!({"entity": entity_json(entity), "limits": limits}));
    }
    let told = |(key, value): &(String, Option<f64>)| match value {
        Some(value) => format!("{entity}: {key} is limited to {}", number(*value)),
        None => format!("{entity}: {key} is not limited any more"),
    };
    match limits {
        [] => print(&format!("{entity}: nothing is limited")),
        limits => print(&limits.iter().map(told).collect::<Vec<_>>().join("\n")),
    }
}

fn to_json(quota: &Quota) -> serde_json::Value {
    let limits: serde_json::Map<_, _> = quota.limits.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({"entity": entity_json(&quota.entity), "limits": limits})
}

fn entity_json(entity: &Entity) -> serde_json::Map<String, serde_json::Value> {
    entity.0.iter().map(|(kind, name)| (kind.clone(), json!(name))).collect()
}

/// A number without a fraction that says nothing.
fn number(value: f64) -> String {
    format!("{value}")
}

fn key(text: &str) -> Result<String, String> {
    if KEYS.iter().any(|(key, _)| *key == text) {
        return Ok(text.to_owned());
    }
    let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
    Err(format!("there is no such key; there are {}", known.join(", ")))
}

/// `KEY=NUMBER`.
fn limit(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("it has to be KEY=NUMBER, as producer_byte_rate=10M")?;
    Ok((key(name)?, scaled(value)?))
}

/// A number with a unit of thousands.
fn scaled(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 6] =
        [("Ki", 1024.0), ("Mi", 1_048_576.0), ("Gi", 1_073_741_824.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
    let (digits, factor) =
        UNITS.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor))).unwrap_or((text, 1.0));
    match digits.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value * factor),
        _ => Err(format!("{text:?} is no number above 0, as 1000000, 1M or 1Mi")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers_with_units() {
        assert_eq!(limit("producer_byte_rate=10M"), Ok(("producer_byte_rate".to_owned(), 1e7)));
        assert_eq!(limit("request_percentage=0.5"), Ok(("request_percentage".to_owned(), 0.5)));
        assert_eq!(scaled("2Ki"), Ok(2048.0));
        assert_eq!(scaled("3G"), Ok(3e9));
        for bad in ["", "M", "-1", "0", "nan", "inf", "1T"] {
            assert!(scaled(bad).is_err(), "{bad}");
        }
        assert!(limit("producer_byte_rate").is_err());
        assert!(limit("nope=1").expect_err("unknown").contains("producer_byte_rate"));
    }
}
