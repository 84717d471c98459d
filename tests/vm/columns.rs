//! columns FILE...: decodes JPEGs and prints a line of eight colours for each, R,G,B at the middle of eight columns, three
//! quarters of the way down. Colour bars have eight columns. Status 1 if one cannot be decoded or lacks Huffman tables.

use std::error::Error;

use lazycam::picture::jpeg;

fn main() -> Result<(), Box<dyn Error>> {
    for file in std::env::args().skip(1) {
        let line = columns(&std::fs::read(&file)?).map_err(|error| format!("{file}: {error}"))?;
        show(&line);
    }
    Ok(())
}

#[allow(clippy::print_stdout)]
fn show(line: &str) {
    println!("{line}");
}

fn columns(bytes: &[u8]) -> Result<String, Box<dyn Error>> {
    let picture = jpeg::check(bytes)?;
    if jpeg::head(bytes)?.missing_tables.is_some() {
        return Err("no Huffman tables".into());
    }
    let pixels = jpeg_decoder::Decoder::new(bytes).decode()?;
    let (width, height) = (usize::from(picture.width), usize::from(picture.height));
    let colour = |column: usize| {
        let x = (2 * column + 1) * width / 16;
        let at = (height * 3 / 4 * width + x) * 3;
        pixels[at..at + 3]
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    Ok((0..8).map(colour).collect::<Vec<_>>().join(" "))
}
