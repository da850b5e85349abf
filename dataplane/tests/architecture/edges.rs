//! Which crate may depend on which. The table is the architecture: a new edge is a decision, taken
//! here, and not an accident of somebody's `Cargo.toml`.

use std::collections::BTreeMap;

use cargo_metadata::{DependencyKind, Metadata};

use crate::{Finding, assert_clean, workspace};

/// Crate → the workspace crates that it may name. What is not listed may name none.
///
/// What is absent matters most: `broker` does not know that TCP exists, `tcpstack` does not know
/// that a NIC does, `control` sees of the dataplane only what `corelink` publishes, and nobody but
/// `capsule` reaches DPDK.
const MAY_USE: &[(&str, &[&str])] = &[
    ("hwconfig", &[]),
    ("superpage", &[]),
    ("dpdk-sys", &[]),
    ("capsule", &["dpdk-sys"]),
    ("corelink", &[]),
    ("tcpstack", &["superpage"]),
    ("broker", &["superpage"]),
    ("dataplane", &["broker", "capsule", "corelink", "hwconfig", "superpage", "tcpstack"]),
    ("control", &["corelink", "hwconfig"]),
    (
        "benches",
        &["broker", "capsule", "corelink", "dataplane", "hwconfig", "superpage", "tcpstack"],
    ),
];

/// Outside dependency → the crates that may name it, for those that stand for a concern. The wire
/// formats belong to the stack, mapped memory to two crates, the async world to the control plane.
const OWNERS: &[(&str, &[&str])] = &[
    ("smoltcp", &["tcpstack"]),
    ("memmap2", &["superpage", "corelink"]),
    ("hugepage-rs", &["superpage"]),
    ("libc", &["superpage", "capsule", "corelink", "dpdk-sys"]),
    ("bindgen", &["dpdk-sys"]),
    ("tokio", &["control"]),
    ("axum", &["control"]),
    ("prometheus", &["control"]),
    ("tracing", &["control"]),
    ("toml", &["hwconfig"]),
];

/// One line of a manifest: `from` names `to`.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    kind: DependencyKind,
}

/// Every dependency of every workspace crate, of all three kinds. Tests are held to the same
/// edges: a test that needs the layer above tests the layer above, and belongs there.
fn edges_of(metadata: &Metadata) -> Vec<Edge> {
    metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| {
            package.dependencies.iter().map(|dependency| Edge {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                kind: dependency.kind,
            })
        })
        .collect()
}

fn check(crates: &[String], edges: &[Edge]) -> Vec<Finding> {
    let may_use: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let owners: BTreeMap<_, _> = OWNERS.iter().copied().collect();
    let mut findings = Vec::new();
    for name in crates {
        if !may_use.contains_key(name.as_str()) {
            findings.push(Finding::new(name, 0, "new crate: say in MAY_USE what it may use"));
        }
    }
    for Edge { from, to, kind } in edges {
        if may_use.contains_key(to.as_str())
            && !may_use.get(from.as_str()).is_some_and(|allowed| allowed.contains(&to.as_str()))
        {
            findings.push(Finding::new(from, 0, format!("may not use {to} ({kind} dependency)")));
        }
        if owners.get(to.as_str()).is_some_and(|allowed| !allowed.contains(&from.as_str())) {
            let allowed = owners[to.as_str()].join(", ");
            let what = format!("may not use {to} ({kind} dependency): it belongs to {allowed}");
            findings.push(Finding::new(from, 0, what));
        }
    }
    findings
}

#[test]
fn crates_use_only_what_the_architecture_allows() {
    let metadata = workspace();
    let crates: Vec<_> =
        metadata.workspace_packages().iter().map(|package| package.name.to_string()).collect();
    assert_clean(&check(&crates, &edges_of(&metadata)));
}

#[test]
fn a_forbidden_edge_is_reported() {
    let edge = |from: &str, to: &str, kind| Edge { from: from.into(), to: to.into(), kind };
    let forbidden = [
        edge("broker", "tcpstack", DependencyKind::Normal),
        edge("tcpstack", "capsule", DependencyKind::Development),
        edge("control", "dataplane", DependencyKind::Normal),
        edge("dataplane", "dpdk-sys", DependencyKind::Build),
        edge("dataplane", "smoltcp", DependencyKind::Normal),
        edge("unheard-of", "superpage", DependencyKind::Normal),
    ];
    for edge in forbidden {
        let findings = check(&[], std::slice::from_ref(&edge));
        assert_eq!(findings.len(), 1, "{edge:?}");
        assert_eq!(findings[0].place, edge.from);
    }
    assert_eq!(check(&[], &[edge("broker", "superpage", DependencyKind::Normal)]), []);
    assert_eq!(check(&["unheard-of".to_owned()], &[]).len(), 1);
}
