//! TOML text with spans → checked, completed values → a [`Profile`].

use crate::error::{ConfigError, Problem};
use crate::instance::Instance;
use crate::keys::{Key, Preset, Section};
use crate::profile::{Profile, SECTIONS};
use crate::rules;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// The profile used when none is named: `profiles/dev-tap.toml`, compiled in.
const EMBEDDED: &str = include_str!("../profiles/dev-tap.toml");

/// What error messages call the embedded profile.
pub const EMBEDDED_NAME: &str = "dev-tap.toml (embedded)";

/// Longest value that a message repeats, in characters.
const VALUE_SHOWN_MAX: usize = 60;

/// What the command line says instead of the profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--instance`: replaces the profile's `instance`.
    pub instance: Option<String>,
    /// `--metrics`: replaces `control.metrics_listen`.
    pub metrics_listen: Option<SocketAddr>,
}

/// Reads and checks the profile at `path`.
///
/// # Errors
/// The file cannot be read, or it breaks a rule: then every problem found is listed.
pub fn load(path: &Path, overrides: &Overrides) -> Result<Profile, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { file: path.to_owned(), source })?;
    parse(&path.display().to_string(), &text, overrides)
}

/// The profile compiled into the program.
///
/// # Errors
/// Only an override can be wrong.
pub fn embedded(overrides: &Overrides) -> Result<Profile, ConfigError> {
    parse(EMBEDDED_NAME, EMBEDDED, overrides)
}

/// The profile at `path`, or the embedded one when no path is given.
///
/// # Errors
/// As [`load`].
pub fn load_or_embedded(
    path: Option<&Path>,
    overrides: &Overrides,
) -> Result<Profile, ConfigError> {
    match path {
        Some(path) => load(path, overrides),
        None => embedded(overrides),
    }
}

/// Checks the profile in `text`; `file` is its name in messages.
///
/// # Errors
/// The text breaks a rule: every problem found is listed, in order of the text.
pub fn parse(file: &str, text: &str, overrides: &Overrides) -> Result<Profile, ConfigError> {
    let mut source = Source { file, text, spans: BTreeMap::new(), problems: Vec::new() };
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            let line = source.line_text(span.start);
            source.refuse_at(span.start, "", &line, error.message());
            return Err(ConfigError::Refused(source.problems));
        }
    };
    let instance = choose_instance(document.get_ref(), overrides)?;
    let table = source.complete(document.get_ref(), &instance);
    if !source.problems.is_empty() {
        return Err(source.refused());
    }
    let mut profile = match Profile::deserialize(table) {
        Ok(profile) => profile,
        Err(error) => {
            source.refuse_at(0, "", "", error.message());
            return Err(source.refused());
        }
    };
    profile.instance = instance.as_str().to_owned();
    if let Some(listen) = overrides.metrics_listen {
        profile.control.metrics_listen = listen;
    }
    rules::check(&profile, &mut source);
    if source.problems.is_empty() { Ok(profile) } else { Err(source.refused()) }
}

/// The override, else the profile's own word, else the default. An impossible word in the profile
/// is left to the rule of its key.
fn choose_instance(root: &DeTable<'_>, overrides: &Overrides) -> Result<Instance, ConfigError> {
    if let Some(name) = &overrides.instance {
        return Instance::parse(name).ok_or_else(|| ConfigError::Override {
            option: "--instance",
            value: name.clone(),
            limit: Instance::FORM.to_owned(),
        });
    }
    let written = root.get("instance").and_then(|value| value.get_ref().as_str());
    let fallback = || Instance::parse("dev").expect("the default name has the right form");
    Ok(written.and_then(Instance::parse).unwrap_or_else(fallback))
}

/// The text, where each key stands in it, and what is wrong with it so far.
pub(crate) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    /// Full key → its value's span; section → its header's.
    spans: BTreeMap<String, Range<usize>>,
    problems: Vec<Problem>,
}

impl Source<'_> {
    /// Notes that the value of `key` (a full name) breaks `limit`. `value` is what stands there
    /// after defaults; the text as written is shown instead where there is one.
    pub(crate) fn refuse(&mut self, key: &str, value: &dyn std::fmt::Display, limit: &str) {
        match self.spans.get(key).cloned() {
            Some(span) => {
                let written = shorten(self.text.get(span.clone()).unwrap_or_default());
                self.refuse_at(span.start, key, &written, limit);
            }
            None => {
                let section = key.rsplit_once('.').map_or("", |(section, _)| section);
                let start = self.spans.get(section).map_or(0, |span| span.start);
                self.refuse_at(start, key, &format!("(default) {value}"), limit);
            }
        }
    }

    fn refuse_at(&mut self, offset: usize, key: &str, value: &str, limit: &str) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: key.to_owned(),
            value: value.to_owned(),
            limit: limit.to_owned(),
        });
    }

    fn refused(mut self) -> ConfigError {
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        ConfigError::Refused(self.problems)
    }

    fn line_text(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        shorten(self.text[start..].lines().next().unwrap_or_default())
    }

    /// Checks every section and fills in what is absent.
    fn complete(&mut self, root: &DeTable<'_>, instance: &Instance) -> Table {
        let (top, sections) = SECTIONS.split_first().expect("the table of sections is not empty");
        let mut table = self.complete_section(top, "", root, instance);
        for section in sections {
            let value = if section.count_max == 1 {
                self.complete_single(section, root, instance)
            } else {
                self.complete_repeated(section, root, instance)
            };
            table.insert(section.path.to_owned(), value);
        }
        table
    }

    fn complete_single(
        &mut self,
        section: &Section,
        root: &DeTable<'_>,
        instance: &Instance,
    ) -> Value {
        let empty = DeTable::new();
        let found = match root.get(section.path) {
            None => &empty,
            Some(value) => {
                self.spans.insert(section.path.to_owned(), value.span());
                match value.get_ref() {
                    DeValue::Table(table) => table,
                    _ => {
                        let limit = format!("must be a table: write [{}]", section.path);
                        self.refuse(section.path, &"", &limit);
                        return Value::Table(Table::new());
                    }
                }
            }
        };
        Value::Table(self.complete_section(section, section.path, found, instance))
    }

    fn complete_repeated(
        &mut self,
        section: &Section,
        root: &DeTable<'_>,
        instance: &Instance,
    ) -> Value {
        let Some(value) = root.get(section.path) else { return Value::Array(Vec::new()) };
        self.spans.insert(section.path.to_owned(), value.span());
        let limit = format!("write each as a table: [[{}]]", section.path);
        let DeValue::Array(elements) = value.get_ref() else {
            self.refuse(section.path, &"", &limit);
            return Value::Array(Vec::new());
        };
        if elements.len() > section.count_max {
            let limit = format!("at most {} of them, not {}", section.count_max, elements.len());
            self.refuse(section.path, &"", &limit);
            return Value::Array(Vec::new());
        }
        let mut tables = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let path = format!("{}[{index}]", section.path);
            self.spans.insert(path.clone(), element.span());
            match element.get_ref() {
                DeValue::Table(table) => {
                    tables
                        .push(Value::Table(self.complete_section(section, &path, table, instance)));
                }
                _ => self.refuse(&path, &"", &limit),
            }
        }
        Value::Array(tables)
    }

    fn complete_section(
        &mut self,
        section: &Section,
        path: &str,
        found: &DeTable<'_>,
        instance: &Instance,
    ) -> Table {
        self.refuse_unknown(section, path, found);
        let mut table = Table::new();
        for key in section.keys {
            let full = full_name(path, key.name);
            let value = match found.iter().find(|(name, _)| name.get_ref() == key.name) {
                Some((_, value)) => self.take(key, &full, value, instance),
                None => self.preset(key, &full, instance),
            };
            if let Some(value) = value {
                table.insert(key.name.to_owned(), value);
            }
        }
        table
    }

    fn refuse_unknown(&mut self, section: &Section, path: &str, found: &DeTable<'_>) {
        for (name, _) in found {
            let name_text = name.get_ref().as_ref();
            let is_key = section.keys.iter().any(|key| key.name == name_text);
            let is_section = path.is_empty() && SECTIONS[1..].iter().any(|s| s.path == name_text);
            if is_key || is_section {
                continue;
            }
            let mut known: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
            if path.is_empty() {
                known.extend(SECTIONS[1..].iter().map(|section| section.path));
            }
            let limit = match nearest(name_text, &known) {
                Some(nearest) => format!("unknown key; did you mean `{nearest}`?"),
                None => format!("unknown key; known here: {}", known.join(", ")),
            };
            self.refuse_at(name.span().start, &full_name(path, name_text), "", &limit);
        }
    }

    /// A value that stands in the text: substituted and checked.
    fn take(
        &mut self,
        key: &Key,
        full: &str,
        value: &Spanned<DeValue<'_>>,
        instance: &Instance,
    ) -> Option<Value> {
        self.spans.insert(full.to_owned(), value.span());
        let plain = plain(value.get_ref(), instance);
        match plain {
            Some(plain) if key.rule.accepts(&plain) => Some(plain),
            _ => {
                let limit = format!("must be {}", limit_text(key));
                self.refuse(full, &"", &limit);
                None
            }
        }
    }

    fn preset(&mut self, key: &Key, full: &str, instance: &Instance) -> Option<Value> {
        if let Preset::Required = key.preset {
            let section = full.rsplit_once('.').map_or("", |(section, _)| section);
            let start = self.spans.get(section).map_or(0, |span| span.start);
            self.refuse_at(start, full, "", &format!("missing; must be {}", limit_text(key)));
            return None;
        }
        match key.preset.value() {
            Some(Value::String(text)) => Some(Value::String(instance.substitute(&text))),
            other => other,
        }
    }
}

fn full_name(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The rule, with the unit where it is one.
fn limit_text(key: &Key) -> String {
    match key.rule {
        crate::Rule::Range(..) | crate::Rule::Multiple(..) => {
            format!("{} ({})", key.rule, key.unit)
        }
        _ => key.rule.to_string(),
    }
}

/// The value without spans, `{instance}` replaced; nothing when no key can have such a value.
fn plain(value: &DeValue<'_>, instance: &Instance) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::String(instance.substitute(text)),
        DeValue::Integer(digits) => {
            Value::Integer(i64::from_str_radix(digits.as_str(), digits.radix()).ok()?)
        }
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Array(values) => {
            let plain = values.iter().map(|value| plain(value.get_ref(), instance));
            Value::Array(plain.collect::<Option<Vec<_>>>()?)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => return None,
    })
}

fn shorten(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = line.join(" ");
    if line.chars().count() <= VALUE_SHOWN_MAX {
        return line;
    }
    line.chars().take(VALUE_SHOWN_MAX - 1).chain(['…']).collect()
}

/// The known name closest to a mistyped one, if it is close enough to be meant.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let allowed = name.chars().count().div_ceil(3).min(3);
    let distances = known.iter().map(|candidate| (edit_distance(name, candidate), *candidate));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, candidate)| candidate)
}

/// Levenshtein distance, by rows.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A key longer than this is no typing mistake, and the work stays small on hostile input.
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replace = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
