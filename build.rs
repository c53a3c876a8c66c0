//! Generates Rust from the committed Cap'n Proto request, so that a build needs no `capnp` binary.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=schema/request.bin");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let request = std::fs::read("schema/request.bin")?;
    capnpc::codegen::CodeGenerationCommand::new()
        .output_directory(out)
        .default_parent_module(vec!["wire".into(), "capnp".into()])
        .run(&request[..])?;
    Ok(())
}
