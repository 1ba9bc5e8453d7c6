//! File, environment, command line: later ones win.

use std::{env, fs, path::PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::ConfigError;

/// What a setting holds, for those given as plain text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    Integer,
    Boolean,
    /// Separated by commas.
    List,
}

/// A raw configuration, and the settings of it that may be overridden.
pub(super) trait Raw: DeserializeOwned {
    const SETTINGS: &'static [(&'static str, Kind)];
    /// A table whose every key may be set, as text.
    const OPEN_TABLE: Option<&'static str> = None;
}

/// Where a configuration comes from.
#[derive(Debug, Clone)]
pub struct Layers {
    file: PathBuf,
    /// `listen.grpc=127.0.0.1:7400`, as given with `--set`.
    overrides: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Layers {
    /// `file`, overridden by this process's environment, overridden by `overrides`.
    #[must_use]
    pub fn new(file: PathBuf, overrides: Vec<String>) -> Self {
        let environment = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("PRIMACY_"))
            .collect();
        Self {
            file,
            overrides,
            environment,
        }
    }

    pub(super) fn read<T: Raw>(&self) -> Result<T, ConfigError> {
        let path = self.file.clone();
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        let mut table = text.parse::<Table>().map_err(|source| {
            let source = Box::new(source);
            ConfigError::Syntax {
                path: path.clone(),
                source,
            }
        })?;
        self.overlay::<T>(&mut table)?;
        table.try_into().map_err(|source| {
            let source = Box::new(source);
            ConfigError::Shape { path, source }
        })
    }

    fn overlay<T: Raw>(&self, table: &mut Table) -> Result<(), ConfigError> {
        for (key, kind) in T::SETTINGS {
            let variable = format!("PRIMACY_{}", key.replace('.', "_").to_uppercase());
            let given = self.environment.iter().find(|(name, _)| *name == variable);
            if let Some((_, text)) = given {
                put(table, &variable, key, typed(&variable, *kind, text)?)?;
            }
        }
        for given in &self.overrides {
            let origin = format!("--set {given}");
            let refuse = |reason: String| ConfigError::Override {
                origin: origin.clone(),
                reason,
            };
            let (key, text) = given
                .split_once('=')
                .ok_or_else(|| refuse("KEY=VALUE was expected".to_owned()))?;
            let kind = kind_of::<T>(key)
                .ok_or_else(|| refuse(format!("{key} is not a setting that can be given here")))?;
            put(table, &origin, key, typed(&origin, kind, text)?)?;
        }
        Ok(())
    }
}

fn kind_of<T: Raw>(key: &str) -> Option<Kind> {
    let (table, rest) = key.split_once('.').unwrap_or_default();
    if T::OPEN_TABLE == Some(table) && !rest.is_empty() {
        return Some(Kind::Text);
    }
    let known = T::SETTINGS.iter().find(|(name, _)| *name == key);
    known.map(|(_, kind)| *kind)
}

fn typed(origin: &str, kind: Kind, text: &str) -> Result<Value, ConfigError> {
    let refuse = |expected: &str| ConfigError::Override {
        origin: origin.to_owned(),
        reason: format!("{text:?} is not {expected}"),
    };
    Ok(match kind {
        Kind::Text => Value::String(text.to_owned()),
        Kind::Integer => Value::Integer(text.parse().map_err(|_| refuse("a whole number"))?),
        Kind::Boolean => Value::Boolean(text.parse().map_err(|_| refuse("true or false"))?),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|s| !s.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
    })
}

/// Puts `value` at `key`, of one or two parts.
fn put(table: &mut Table, origin: &str, key: &str, value: Value) -> Result<(), ConfigError> {
    let Some((outer, inner)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return Ok(());
    };
    let entry = table
        .entry(outer)
        .or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(nested) = entry else {
        return Err(ConfigError::Override {
            origin: origin.to_owned(),
            reason: format!("{outer} is not a table in the file"),
        });
    };
    nested.insert(inner.to_owned(), value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        count: Option<u64>,
        nested: Option<Nested>,
        #[serde(default)]
        settings: BTreeMap<String, String>,
    }

    #[derive(Debug, Deserialize)]
    struct Nested {
        on: bool,
    }

    impl Raw for Sample {
        const SETTINGS: &'static [(&'static str, Kind)] = &[
            ("name", Kind::Text),
            ("count", Kind::Integer),
            ("nested.on", Kind::Boolean),
        ];
        const OPEN_TABLE: Option<&'static str> = Some("settings");
    }

    fn read(text: &str, env: &[(&str, &str)], set: &[&str]) -> Result<Sample, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Layers {
            file: file.path().to_owned(),
            overrides: set.iter().map(|s| (*s).to_owned()).collect(),
            environment: env.iter().map(owned).collect(),
        }
        .read()
    }

    #[test]
    fn the_command_line_wins_over_the_environment_over_the_file() {
        let text = "name = \"file\"\ncount = 1";
        let env = [("PRIMACY_NAME", "env"), ("PRIMACY_NESTED_ON", "true")];
        let sample = read(text, &env, &["name=flag", "settings.work_mem=64MB"]).expect("valid");
        assert_eq!(sample.name, "flag");
        assert_eq!(sample.count, Some(1));
        assert!(sample.nested.expect("from the environment").on);
        assert_eq!(sample.settings["work_mem"], "64MB");
    }

    #[test]
    fn an_override_that_is_no_setting_or_no_number_is_refused_by_name() {
        let unknown = read("name = \"x\"", &[], &["colour=red"]).expect_err("taken");
        assert!(unknown.to_string().contains("--set colour=red"));
        let letters = read("name = \"x\"", &[("PRIMACY_COUNT", "ten")], &[]).expect_err("taken");
        assert!(letters.to_string().contains("PRIMACY_COUNT"), "{letters}");
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        let refused = read("name = \"x\"\nnmae = \"y\"", &[], &[]).expect_err("taken");
        let ConfigError::Shape { source, .. } = refused else {
            panic!("{refused:?}")
        };
        assert!(source.to_string().contains("nmae"), "{source}");
    }
}
