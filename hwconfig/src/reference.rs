//! The table of keys as markdown. The README contains exactly this text; the architecture
//! test compares.

use crate::keys::Section;
use crate::profile::SECTIONS;
use std::fmt::Write;

/// The reference of all sections, in markdown.
pub fn markdown() -> String {
    let mut out = String::new();
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
