//! The table of attacks names what there is.

use std::path::Path;

use tcpstack::StackCounters;

/// What stands in backquotes in a cell.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Whether a name, of which `*` may stand for a part, is among `names`.
fn is_among<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> bool {
    let (start, end) = name.split_once('*').unwrap_or((name, ""));
    let has_star = name.contains('*');
    names.any(|found| {
        if has_star { found.starts_with(start) && found.ends_with(end) } else { found == name }
    })
}

fn has_file(root: &Path, test: &str) -> bool {
    let (folder, name) = test.rsplit_once('/').unwrap_or(("", test));
    let Ok(files) = std::fs::read_dir(root.join(folder)) else { return false };
    let names: Vec<String> = files
        .map(|file| file.expect("readable").file_name().into_string().expect("text"))
        .collect();
    let stems = names.iter().map(|name| name.strip_suffix(".tcp").unwrap_or(name));
    name.is_empty() || is_among(name, stems)
}

#[test]
fn every_counter_and_test_named_in_the_table_exists() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut rows = 0;
    for row in include_str!("../../src/attacks.rs").lines() {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let &[_, attack, _, counters, named, _] = &cells[..] else { continue };
        if attack == "---" || attack == "attack" {
            continue;
        }
        rows += 1;
        for counter in quoted(counters) {
            let fields = StackCounters::FIELDS.iter().map(|field| field.name);
            assert!(is_among(counter, fields), "{attack}: there is no {counter}");
        }
        assert!(quoted(named).count() > 0, "{attack} has no test");
        for test in quoted(named) {
            let is_there =
                has_file(&tests.join("attacks"), test) || has_file(&tests.join("scripts"), test);
            assert!(is_there, "{attack}: there is no test {test}");
        }
    }
    assert!(rows > 35, "{rows} rows");
}
