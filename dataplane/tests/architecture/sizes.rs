//! Files of at most 600 lines and functions of at most 70, so that the central file of the system
//! cannot grow without bound.

use syn::visit::{self, Visit};

use crate::tree::{Source, sources};
use crate::{Finding, assert_clean};

/// Longest file. Beyond it a second concern has moved in.
const FILE_LINES_MAX: usize = 600;

/// Longest function body, in lines that hold code: what a reader sees at once.
const FUNCTION_LINES_MAX: usize = 70;

fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let what = format!("{lines} lines, {FILE_LINES_MAX} at most: split it by concern");
        findings.push(Finding::new(&source.path, 0, what));
    }
    if source.is_rust() {
        let file = syn::parse_file(&source.text)
            .unwrap_or_else(|error| panic!("{} does not parse: {error}", source.path));
        let mut functions =
            Functions { source, lines: source.text.lines().collect(), findings: &mut findings };
        functions.visit_file(&file);
    }
    findings
}

/// Measures every function body of a file.
struct Functions<'a> {
    source: &'a Source,
    lines: Vec<&'a str>,
    findings: &'a mut Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, attributes: &[syn::Attribute], body: &syn::Block) {
        let braces = body.brace_token.span;
        let first = braces.open().start().line;
        let last = braces.close().start().line;
        // Line numbers count from 1: this is what stands between the lines of the two braces.
        let inner = self.lines.get(first..last.saturating_sub(1)).unwrap_or_default();
        let code = inner.iter().map(|line| line.trim_start());
        let length = code.filter(|line| !line.is_empty() && !line.starts_with("//")).count();
        if length > FUNCTION_LINES_MAX && !attributes.iter().any(is_reasoned_exception) {
            let what = format!(
                "fn {name} has {length} lines, {FUNCTION_LINES_MAX} at most: split it, or \
                 #[expect(clippy::too_many_lines, reason = \"...\")]"
            );
            self.findings.push(Finding::new(&self.source.path, first, what));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig.ident, &function.attrs, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig.ident, &function.attrs, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig.ident, &function.attrs, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Whether this is `#[expect(clippy::too_many_lines, reason = "...")]`.
fn is_reasoned_exception(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    let arguments = list.tokens.to_string();
    list.path.is_ident("expect")
        && arguments.contains("too_many_lines")
        && arguments.contains("reason")
}

#[test]
fn files_and_functions_keep_to_their_limits() {
    let findings: Vec<_> = sources().iter().flat_map(check).collect();
    assert_clean(&findings);
}

#[test]
fn a_file_that_is_too_long_is_reported() {
    let of_lines = |lines| Source { path: "long.py".into(), text: "x\n".repeat(lines) };
    assert_eq!(check(&of_lines(FILE_LINES_MAX)), []);
    assert_eq!(check(&of_lines(FILE_LINES_MAX + 1)).len(), 1);
}

#[test]
fn a_function_that_is_too_long_is_reported_wherever_it_stands() {
    let body = |lines| format!("{{\n// Not counted.\n\n{}}}", "f();\n".repeat(lines));
    let findings = |text: String| check(&Source { path: "long.rs".into(), text }).len();

    assert_eq!(findings(format!("fn f() {}", body(FUNCTION_LINES_MAX))), 0);
    let long = body(FUNCTION_LINES_MAX + 1);
    assert_eq!(findings(format!("fn f() {long}")), 1);
    assert_eq!(findings(format!("impl A {{ fn f() {long} }}")), 1);
    assert_eq!(findings(format!("trait A {{ fn f() {long} }}")), 1);
    assert_eq!(findings(format!("mod m {{ fn f() {{ fn g() {long} }} }}")), 2);
}

#[test]
fn an_exception_needs_a_reason() {
    let long = format!("fn f() {{\n{}}}", "f();\n".repeat(FUNCTION_LINES_MAX + 1));
    let findings = |attribute: &str| {
        check(&Source { path: "long.rs".into(), text: format!("{attribute}\n{long}") }).len()
    };
    assert_eq!(findings("#[expect(clippy::too_many_lines, reason = \"one table\")]"), 0);
    assert_eq!(findings("#[expect(clippy::too_many_lines)]"), 1);
    assert_eq!(findings("#[allow(clippy::too_many_lines, reason = \"one table\")]"), 1);
}
