//! The table of keys as markdown. `profiles/README.md` is exactly this text; a test compares.

use crate::keys::Section;
use crate::profile::SECTIONS;
use std::fmt::Write;

/// What stands above the tables.
const INTRODUCTION: &str = "\
# Profile reference

A profile is one TOML file that says everything about one appliance. A key that is not in these
tables is refused, and so is a value outside its limits; `trunkline check FILE` names file, line,
column, key, value and limit, and what the tables take in memory. Sizes in `[memory]` are for the
whole appliance, all shards together. `{instance}` in any text becomes the name of the instance.

This file is made by `trunkline check --reference`.

";

/// The reference of all sections, in markdown.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in SECTIONS {
        write_section(&mut out, section).expect("writing to a string cannot fail");
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn write_section(out: &mut String, section: &Section) -> std::fmt::Result {
    let title = match (section.path, section.count_max) {
        ("", _) => "Top level".to_owned(),
        (path, 1) => format!("`[{path}]`"),
        (path, count) => format!("`[[{path}]]` (at most {count})"),
    };
    writeln!(out, "**{title}** {}\n", section.about.trim())?;
    writeln!(out, "| key | unit | values | default | why |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for key in section.keys {
        let (rule, why) = (key.rule.to_string(), key.why.trim());
        writeln!(out, "| `{}` | {} | {rule} | {} | {why} |", key.name, key.unit, key.preset)?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn reference_beside_the_profiles_is_what_the_keys_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/README.md");
        let written = std::fs::read_to_string(path).expect("the reference is there");
        assert!(
            written == super::markdown(),
            "{path} is out of date: cargo run -p control -- check --reference > {path}"
        );
    }
}
