//! Generates the gRPC stubs of `proto/` when the feature `rpc` is on. Compiles the `.proto` files in
//! process, so that nothing has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "rpc")]
    rpc::generate()?;
    Ok(())
}

#[cfg(feature = "rpc")]
mod rpc {
    use std::error::Error;
    use std::path::PathBuf;

    const INCLUDE: &str = "proto";
    const PUBLIC: &str = "spandrel/v1/spandrel.proto";
    const INTERNAL: &str = "spandrel/internal/v1/peer.proto";

    pub(super) fn generate() -> Result<(), Box<dyn Error>> {
        let out = PathBuf::from(std::env::var("OUT_DIR")?);

        // Comments become rustdoc, so the source locations are kept for the generator.
        let files = protox::Compiler::new([INCLUDE])?
            .include_imports(true)
            .include_source_info(true)
            .open_files([PUBLIC, INTERNAL])?
            .file_descriptor_set();
        // `bytes::Bytes` for every `bytes` field: a row or frame is a slice of the message it came in.
        tonic_prost_build::configure()
            .bytes(".")
            .emit_rerun_if_changed(false)
            .compile_fds(files)?;

        // What server reflection shows: the public service alone, without comments.
        let public = protox::Compiler::new([INCLUDE])?
            .include_imports(true)
            .open_files([PUBLIC])?
            .encode_file_descriptor_set();
        std::fs::write(out.join("spandrel.v1.descriptors.bin"), public)?;
        Ok(())
    }
}
