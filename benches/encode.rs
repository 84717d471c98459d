//! Encode: the processor time that a picture takes and its size, for each coder in this build.
//!
//!     cargo bench --bench encode --features turbojpeg
//!
//! The picture is the test pattern at 1280x720 and 1920x1080 with added noise, such as a sensor has in a room: about
//! 80 KB at 1280x720 and quality 80. The coders take turns, frame by frame, because machines are shared. The time is
//! that of the thread (CLOCK_THREAD_CPUTIME_ID), as the median of all turns. Figures are in `docs/performance.md`.
//!
//! A second table is about turning such pictures when they are JPEGs: by lazycam's own code, and, with the feature, by
//! libjpeg-turbo's transformer and by decoding and encoding again.
//!
//! Not measured here: separating raw frames (`src/picture/pixels.rs`) and publishing.

#![allow(clippy::print_stdout, reason = "tables are what this program is for")]

use std::time::{Duration, Instant};

use clap::Parser;
use jpeg_decoder::ColorTransform;
use lazycam::capture::pattern::Pattern;
use lazycam::capture::source::Source;
use lazycam::picture::encode::{Planes, portable};
use lazycam::picture::turn::Transform;
use lazycam::picture::turn::lossless::Turner;
use rustix::time::{ClockId, clock_gettime};

/// Any error ends the run.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The most by which noise changes a luma sample; chroma changes by half as much.
const NOISE: i32 = 7;

/// The pictures have different noise, so that none is measured while it is in the caches.
const PICTURES: usize = 4;

const SIZES: [(u16, u16); 2] = [(1280, 720), (1920, 1080)];

/// Measures the JPEG coders of this build, by turns.
#[derive(Debug, Parser)]
struct Flags {
    /// How often each coder has its turn.
    #[arg(long, default_value_t = 200)]
    turns: usize,
    /// Qualities at 1280x720; 1920x1080 is measured at 80.
    #[arg(long, value_delimiter = ',', default_values_t = [50, 70, 80, 90, 95])]
    qualities: Vec<u8>,
    /// Cargo says this when it means it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A picture's planes.
struct Picture {
    size: (u16, u16),
    luma: Vec<u8>,
    chroma: [Vec<u8>; 2],
}

/// A coder of one quality.
enum Coder {
    Portable(portable::Coder),
    #[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
    Turbo(lazycam::picture::encode::turbo::Coder),
}

impl Coder {
    /// All coders of this build.
    fn all(quality: u8) -> Outcome<Vec<Coder>> {
        Ok(vec![
            Coder::Portable(portable::Coder::new(quality)?),
            #[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
            Coder::Turbo(lazycam::picture::encode::turbo::Coder::new(quality)?),
        ])
    }

    fn name(&self) -> &'static str {
        match self {
            Coder::Portable(_) => portable::NAME,
            #[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
            Coder::Turbo(_) => lazycam::picture::encode::turbo::NAME,
        }
    }

    fn encode(&mut self, planes: Planes<'_>, into: &mut Vec<u8>) -> Outcome<()> {
        match self {
            Coder::Portable(coder) => coder.encode(planes, into)?,
            #[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
            Coder::Turbo(coder) => coder.encode(planes, into)?,
        }
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let flags = Flags::parse();
    if !flags.bench {
        println!("not run: this is a benchmark, see cargo bench");
        return Ok(());
    }
    println!(
        "processor time of the thread per frame, {} turns each\n",
        flags.turns
    );
    println!("| size | quality | coder | KB | median, ms | p10 to p90 | of the first |");
    println!("| --- | ---: | --- | ---: | ---: | ---: | ---: |");
    let [small, large] = SIZES;
    let small = pictures(small)?;
    for &quality in &flags.qualities {
        measure(&small, quality, flags.turns)?;
    }
    let large = pictures(large)?;
    measure(&large, 80, flags.turns)?;
    println!("\n| size | KB | way | flipped, ms | 180 degrees, ms | 90 degrees, ms |");
    println!("| --- | ---: | --- | ---: | ---: | ---: |");
    turning(&small, flags.turns)?;
    turning(&large, flags.turns)
}

/// A way to turn a JPEG: from the first into the second.
type Way = Box<dyn FnMut(&[u8], Transform, &mut Vec<u8>) -> Outcome<()>>;

fn ways() -> Outcome<Vec<(&'static str, Way)>> {
    let mut own = Turner::default();
    let own: Way = Box::new(move |jpeg, turn, into| Ok(own.turn(jpeg, turn, into).map(drop)?));
    #[cfg_attr(
        not(any(feature = "turbojpeg", feature = "turbojpeg-system")),
        allow(unused_mut, reason = "there is one way then")
    )]
    let mut ways = vec![("lazycam", own)];
    #[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
    ways.extend(theirs()?);
    Ok(ways)
}

/// What libjpeg-turbo offers. One buffer for ever: a transformer that is used with several frees memory twice.
#[cfg(any(feature = "turbojpeg", feature = "turbojpeg-system"))]
fn theirs() -> Outcome<[(&'static str, Way); 2]> {
    use turbojpeg::{Compressor, Decompressor, OutputBuf, Transform, TransformOp, Transformer};
    let (mut transformer, mut output) = (Transformer::new()?, OutputBuf::new_owned());
    let transform: Way = Box::new(move |jpeg, turn, _| {
        let mut transform = Transform::op(match (turn.transposed, turn.vertical) {
            (false, false) => TransformOp::Hflip,
            (false, true) => TransformOp::Rot180,
            (true, _) => TransformOp::Rot90,
        });
        transform.trim = true;
        Ok(transformer.transform(&transform, jpeg, &mut output)?)
    });
    let (mut decompressor, mut compressor) = (Decompressor::new()?, Compressor::new()?);
    compressor.set_quality(80)?;
    let (mut planes, mut output) = (Vec::new(), OutputBuf::new_owned());
    let again: Way = Box::new(move |jpeg, _, _| {
        let header = decompressor.read_header(jpeg)?;
        let length = turbojpeg::yuv_pixels_len(header.width, 4, header.height, header.subsamp)?;
        planes.resize(length, 0);
        let mut image = turbojpeg::YuvImage {
            pixels: &mut planes[..],
            width: header.width,
            align: 4,
            height: header.height,
            subsamp: header.subsamp,
        };
        decompressor.decompress_to_yuv(jpeg, image.as_deref_mut())?;
        Ok(compressor.compress_yuv(image.as_deref(), &mut output)?)
    });
    let names = [
        "libjpeg-turbo's transformer",
        "decoded and encoded, not turned",
    ];
    let [first, second] = names;
    Ok([(first, transform), (second, again)])
}

/// Prints one line per way.
fn turning(pictures: &[Picture], turns: usize) -> Outcome<()> {
    let mut coders = Coder::all(80)?;
    let coder = coders.first_mut().ok_or("no coder")?;
    let mut jpegs = vec![Vec::new(); pictures.len()];
    for (picture, jpeg) in pictures.iter().zip(&mut jpegs) {
        coder.encode(picture.planes()?, jpeg)?;
    }
    let turned = [2, 3, 6].map(Transform::of_orientation);
    let mut ways = ways()?;
    let mut times = vec![[(); 3].map(|()| Vec::with_capacity(turns)); ways.len()];
    let mut into = Vec::new();
    for round in 0..turns + PICTURES {
        let jpeg = &jpegs[round % jpegs.len()];
        for ((_, way), times) in ways.iter_mut().zip(&mut times) {
            for (turn, times) in turned.iter().zip(times) {
                let before = thread_time();
                way(jpeg, *turn, &mut into)?;
                let took = thread_time().saturating_sub(before);
                if round >= PICTURES {
                    times.push(took);
                }
            }
        }
    }
    let bytes: usize = jpegs.iter().map(Vec::len).sum();
    let ((width, height), kilobytes) = (pictures[0].size, bytes as f64 / jpegs.len() as f64 / 1e3);
    for ((name, _), mut times) in ways.iter().zip(times) {
        let [flipped, half, quarter] = [0, 1, 2].map(|n: usize| {
            times[n].sort();
            times[n][(turns - 1) / 2].as_secs_f64() * 1e3
        });
        println!(
            "| {width}x{height} | {kilobytes:.1} | {name} | {flipped:.2} | {half:.2} | {quarter:.2} |"
        );
    }
    Ok(())
}

/// Prints one line per coder.
fn measure(pictures: &[Picture], quality: u8, turns: usize) -> Outcome<()> {
    let mut coders = Coder::all(quality)?;
    let mut times = vec![Vec::with_capacity(turns); coders.len()];
    let mut bytes = vec![0; coders.len()];
    let mut jpeg = Vec::new();
    let warm_up = PICTURES;
    for turn in 0..turns + warm_up {
        let planes = pictures[turn % pictures.len()].planes()?;
        for (i, coder) in coders.iter_mut().enumerate() {
            let before = thread_time();
            coder.encode(planes, &mut jpeg)?;
            let took = thread_time().saturating_sub(before);
            if turn >= warm_up {
                times[i].push(took);
                bytes[i] += jpeg.len();
            }
        }
    }
    let mut first = None;
    for ((coder, mut times), bytes) in coders.iter().zip(times).zip(bytes) {
        times.sort();
        let at = |share: usize| times[(turns - 1) * share / 100].as_secs_f64() * 1e3;
        let (width, height) = pictures[0].size;
        let median = at(50);
        println!(
            "| {width}x{height} | {quality} | {} | {:.1} | {median:.2} | {:.2} to {:.2} | {:.2} |",
            coder.name(),
            bytes as f64 / turns as f64 / 1e3,
            at(10),
            at(90),
            median / *first.get_or_insert(median),
        );
    }
    Ok(())
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The test picture with noise.
fn pictures(size: (u16, u16)) -> Outcome<Vec<Picture>> {
    let mut pattern = Pattern::new(size, 30.0, 100)?;
    let start = Instant::now();
    let none = |_| "no test picture";
    pattern.start(start).map_err(none)?;
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut pictures = Vec::new();
    for turn in 0..PICTURES as u32 {
        let due = start + Duration::from_millis(250) * turn;
        pattern.advance(due).map_err(none)?;
        let mut decoder = jpeg_decoder::Decoder::new(pattern.jpeg().map_err(none)?);
        // Unchanged: three components, not converted.
        decoder.set_color_transform(ColorTransform::RGB);
        pictures.push(Picture::new(size, &decoder.decode()?, &mut random));
    }
    Ok(pictures)
}

impl Picture {
    /// Makes planes from Y, Cb, Cr of every pixel; chroma is taken at every other one.
    fn new(size: (u16, u16), samples: &[u8], random: &mut u64) -> Self {
        let width = usize::from(size.0);
        let mut noisy = |sample: u8, most: i32| {
            // xorshift64; the sum of two dice is closer to a sensor's noise than one.
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            let dice = |shift: u32| ((*random >> shift) as i32 & 0xFFFF) * (most + 1) / 0x1_0000;
            (i32::from(sample) + dice(8) - dice(32)).clamp(0, 255) as u8
        };
        let pixels = samples.chunks_exact(3);
        let luma = pixels.map(|pixel| noisy(pixel[0], NOISE)).collect();
        let chroma = [1, 2].map(|component| {
            let rows = samples.chunks_exact(3 * width).step_by(2);
            let kept = rows.flat_map(|row| row.chunks_exact(3).step_by(2));
            kept.map(|pixel| noisy(pixel[component], NOISE / 2))
                .collect()
        });
        Picture { size, luma, chroma }
    }

    fn planes(&self) -> Outcome<Planes<'_>> {
        let (stride, [cb, cr]) = (usize::from(self.size.0), &self.chroma);
        let planes = Planes::new(
            self.size,
            (&self.luma, stride),
            (cb, stride / 2),
            (cr, stride / 2),
        );
        Ok(planes.ok_or("no pixels")?)
    }
}
