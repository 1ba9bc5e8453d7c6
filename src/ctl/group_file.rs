//! The group file: what an operator writes, checked and filled in.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{
    Control, Durability, GroupName, GroupSpec, MemberName, MemberSpec, Region, SpecError,
};

const MAX_LAG_BYTES: u64 = 16 << 20;

/// Why a group file cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum GroupFileError {
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    #[error("kind = {0:?}: only \"postgres\" is known")]
    Kind(String),
    #[error(transparent)]
    Spec(#[from] SpecError),
}

/// Reads a group file; unknown fields are refused.
pub fn parse(text: &str) -> Result<GroupSpec, GroupFileError> {
    let file: File = toml::from_str(text)?;
    if file.kind != "postgres" {
        return Err(GroupFileError::Kind(file.kind));
    }
    let spec = GroupSpec::from(file);
    spec.validate()?;
    Ok(spec)
}

/// Writes a specification as the file that would make it.
#[must_use]
pub fn render(spec: &GroupSpec) -> String {
    // Every field has a form in TOML, so nothing can fail.
    toml::to_string(&File::from(spec)).unwrap_or_default()
}

/// The same names as a JSON object.
#[must_use]
pub fn json(spec: &GroupSpec) -> serde_json::Value {
    serde_json::to_value(File::from(spec)).unwrap_or_default()
}

/// The file as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: GroupName,
    #[serde(default = "postgres")]
    kind: String,
    #[serde(default)]
    durability: Durability,
    #[serde(default = "ten_seconds")]
    ttl: Span,
    #[serde(default = "half_a_second")]
    suspect_after: Span,
    #[serde(default = "max_lag_bytes")]
    max_lag_bytes: u64,
    #[serde(default)]
    check_window: Span,
    initial_primary: MemberName,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_identifier: Option<SystemIdentifier>,
    #[serde(default)]
    sync: Sync,
    member: Vec<Member>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sync {
    #[serde(default = "one")]
    k: u32,
    /// Empty: every member.
    #[serde(default)]
    members: BTreeSet<MemberName>,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            k: one(),
            members: BTreeSet::new(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: MemberName,
    region: Region,
    address: SocketAddr,
    #[serde(default)]
    control: Control,
    #[serde(default)]
    no_failover: bool,
    #[serde(default)]
    priority: i32,
}

/// TOML integers are signed; an identifier may be above them, as text.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum SystemIdentifier {
    Number(u64),
    Text(#[serde(with = "as_text")] u64),
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// A duration such as `"500ms"`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Span(u64);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = humantime::parse_duration(&text)
            .map_err(|error| format!("{text:?} is not a duration like \"500ms\": {error}"))?;
        u64::try_from(parsed.as_millis())
            .map(Self)
            .map_err(|_| format!("{text:?} is too long"))
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        humantime::format_duration(Duration::from_millis(span.0)).to_string()
    }
}

fn postgres() -> String {
    "postgres".to_owned()
}

fn ten_seconds() -> Span {
    Span(10_000)
}

fn half_a_second() -> Span {
    Span(500)
}

fn max_lag_bytes() -> u64 {
    MAX_LAG_BYTES
}

fn one() -> u32 {
    1
}

impl From<File> for GroupSpec {
    fn from(file: File) -> Self {
        let member = |it: Member| MemberSpec {
            name: it.name,
            region: it.region,
            address: it.address,
            control: it.control,
            no_failover: it.no_failover,
            priority: it.priority,
        };
        Self {
            name: file.name,
            durability: file.durability,
            sync_k: file.sync.k,
            sync_members: file.sync.members,
            ttl_ms: file.ttl.0,
            suspect_after_ms: file.suspect_after.0,
            max_lag_bytes: file.max_lag_bytes,
            check_window_ms: file.check_window.0,
            initial_primary: file.initial_primary,
            system_identifier: file.system_identifier.map(|it| match it {
                SystemIdentifier::Number(id) | SystemIdentifier::Text(id) => id,
            }),
            members: file.member.into_iter().map(member).collect(),
        }
    }
}

impl From<&GroupSpec> for File {
    fn from(spec: &GroupSpec) -> Self {
        let member = |it: &MemberSpec| Member {
            name: it.name.clone(),
            region: it.region.clone(),
            address: it.address,
            control: it.control,
            no_failover: it.no_failover,
            priority: it.priority,
        };
        Self {
            name: spec.name.clone(),
            kind: postgres(),
            durability: spec.durability,
            ttl: Span(spec.ttl_ms),
            suspect_after: Span(spec.suspect_after_ms),
            max_lag_bytes: spec.max_lag_bytes,
            check_window: Span(spec.check_window_ms),
            initial_primary: spec.initial_primary.clone(),
            system_identifier: spec.system_identifier.map(SystemIdentifier::Text),
            sync: Sync {
                k: spec.sync_k,
                members: spec.sync_members.clone(),
            },
            member: spec.members.iter().map(member).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: &str = r#"
        name = "orders"
        initial_primary = "paris"
        [[member]]
        name = "paris"
        region = "eu"
        address = "10.0.0.1:5432"
        [[member]]
        name = "tokyo"
        region = "asia"
        address = "10.0.0.2:5432"
    "#;

    fn refusal(text: &str) -> String {
        parse(text).expect_err("refused").to_string()
    }

    #[test]
    fn what_is_left_out_is_strict_with_one_of_all() {
        let spec = parse(ORDERS).expect("a group");
        assert_eq!(spec.durability, Durability::Strict);
        assert_eq!((spec.sync_k, spec.sync_members.len()), (1, 0));
        assert_eq!((spec.ttl_ms, spec.suspect_after_ms), (10_000, 500));
        assert_eq!((spec.max_lag_bytes, spec.check_window_ms), (16 << 20, 0));
    }

    #[test]
    fn what_is_rendered_reads_back_as_the_same_group() {
        let mut spec = parse(ORDERS).expect("a group");
        spec.system_identifier = Some(u64::MAX - 1);
        assert_eq!(parse(&render(&spec)).expect("a group"), spec);
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        assert!(refusal(&format!("tll = \"5s\"\n{ORDERS}")).contains("unknown field `tll`"));
        assert!(
            refusal(&format!("{ORDERS}\nfailover = false")).contains("unknown field `failover`")
        );
    }

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        assert!(refusal(&format!("ttl = \"10\"\n{ORDERS}")).contains("is not a duration"));
        assert!(parse(&format!("ttl = 10\n{ORDERS}")).is_err());
    }

    #[test]
    fn a_host_name_is_no_address_and_a_capital_no_name() {
        assert!(parse(&ORDERS.replace("10.0.0.2:5432", "db2:5432")).is_err());
        assert!(refusal(&ORDERS.replace("orders", "Orders")).contains("is not a name"));
    }

    #[test]
    fn another_kind_and_a_missing_initial_primary_are_refused() {
        assert!(refusal(&format!("kind = \"mysql\"\n{ORDERS}")).contains("only \"postgres\""));
        let text = ORDERS.replace("initial_primary = \"paris\"", "");
        assert!(refusal(&text).contains("missing field `initial_primary`"));
    }

    #[test]
    fn relations_between_the_values_are_checked() {
        let text = format!("sync = {{ k = 2 }}\n{ORDERS}");
        assert!(refusal(&text).contains("sync.k = 2 needs 2 standbys"));
        let text = format!("ttl = \"400ms\"\n{ORDERS}");
        assert!(refusal(&text).contains("suspect_after = 500ms is not below ttl = 400ms"));
    }
}
