//! Compiles `primacy/v1/*.proto` without an external protoc.

use std::path::PathBuf;

use prost::Message;

const FILES: &[&str] = &[
    "primacy/v1/raft.proto",
    "primacy/v1/agent.proto",
    "primacy/v1/primacy.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed=primacy");
    Ok(())
}
