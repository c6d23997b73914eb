//! Writes the Snowplow schemas of the bridge's events into a folder, as a static Iglu registry, under a vendor of your own
//! if you name one; without a folder it only lists them.
//!
//! `cargo run --features snowplow --example iglu_schemas -- <folder> [vendor]`

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(folder) = arguments.next() else {
        otel_session::iglu::schemas().iter().for_each(|schema| println!("{}", schema.path));
        println!("to write them: iglu_schemas <folder> [vendor]");
        return Ok(());
    };
    let ours = otel_session::export::snowplow::DEFAULT_VENDOR;
    let vendor = arguments.next().unwrap_or_else(|| ours.to_owned());
    for schema in otel_session::iglu::schemas() {
        // The vendor stands in the path and in the schema's own description of itself.
        let path = Path::new(&folder).join(schema.path.replace(ours, &vendor));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, schema.text.replace(ours, &vendor))?;
        println!("{}", path.display());
    }
    Ok(())
}
