//! Writes the Snowplow schemas of the bridge's events into a folder, as a static Iglu registry, under a vendor of your own
//! if you name one; without a folder it only lists them.
//!
//! `cargo run --features snowplow --example iglu_schemas -- <folder> [vendor]`; exit code 1 if they cannot be written.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    // An option is no folder: `--help` would be made one.
    let Some(folder) = arguments.next().filter(|it| !it.starts_with('-')) else {
        otel_session::iglu::schemas().iter().for_each(|schema| println!("{}", schema.path));
        println!("to write them: iglu_schemas <folder> [vendor]");
        return Ok(());
    };
    let ours = otel_session::export::snowplow::DEFAULT_VENDOR;
    let vendor = arguments.next().unwrap_or_else(|| ours.to_owned());
    let word = |it: &str| !it.is_empty() && it.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !vendor.split('.').all(word) {
        return Err(format!("the vendor {vendor:?} is not made of words and dots; write one such as com.acme").into());
    }
    for schema in otel_session::iglu::schemas() {
        // The vendor stands in the path and in the schema's own description of itself.
        let path = Path::new(&folder).join(schema.path.replace(ours, &vendor));
        let made = path.parent().map_or(Ok(()), fs::create_dir_all);
        made.and_then(|()| fs::write(&path, schema.text.replace(ours, &vendor)))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}
