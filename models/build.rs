//! Switches the shipped modules to the model checker's primitives, so that `cargo test` needs no flags.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(otel_session_loom)");
    println!("cargo::rustc-cfg=otel_session_loom");
    println!("cargo::rerun-if-changed=build.rs");
}
