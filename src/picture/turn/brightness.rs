//! How bright a JPEG is, without decoding the picture: the mean of all blocks' first coefficients, each of which is the mean
//! of its block.

use super::entropy::{Bits, Decoding};
use super::head::Picture;
use super::lossless::{mean, others};
use crate::picture::jpeg::Defect;

/// The mean of its luma, from 0 to 255; `None` for a picture that cannot be read.
pub(crate) fn of(jpeg: &[u8]) -> Option<f32> {
    read(jpeg).ok()
}

fn read(jpeg: &[u8]) -> Result<f32, Defect> {
    let mut picture = Picture::read(jpeg)?;
    picture.add_usual_tables();
    let size = picture.size.ok_or(Defect::NoSize)?;
    let step = picture.first_step().ok_or(Defect::Data)?;
    let components: Vec<(usize, [&Decoding; 2])> = picture
        .components
        .iter()
        .map(|one| Ok((one.blocks.0 * one.blocks.1, picture.tables(one)?)))
        .collect::<Result<_, Defect>>()?;
    let (width, height) = picture.mcu();
    let mcus = usize::from(size.width.div_ceil(width)) * usize::from(size.height.div_ceil(height));
    let mut bits = Bits::new(&jpeg[picture.scan..]);
    let (mut means, mut sum, mut blocks) = ([0_i16; 4], 0_i64, 0_u32);
    for mcu in 0..mcus {
        if picture.restart > 0 && mcu > 0 && mcu % picture.restart == 0 {
            bits.restart((mcu / picture.restart - 1) as u8)?;
            means = [0; 4];
        }
        for (n, (count, [dc, ac])) in components.iter().enumerate() {
            for _ in 0..*count {
                means[n] = mean(&mut bits, dc, means[n])?;
                others(&mut bits, ac, |_, _, _| Ok(()))?;
                if n == 0 {
                    sum += i64::from(means[0]);
                    blocks += 1;
                }
            }
        }
        if bits.is_over() {
            return Err(Defect::Data);
        }
    }
    if blocks == 0 {
        return Err(Defect::ZeroSize);
    }
    // The first coefficient is eight times the mean of samples around 128 (T.81, A.3.3).
    Ok(sum as f32 * f32::from(step) / (8 * blocks) as f32 + 128.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::encode::{Encoder, Planes};
    use crate::picture::jpeg::marker::{self, Segments};

    fn jpeg(luma: &[u8], (width, height): (u16, u16)) -> Vec<u8> {
        let stride = usize::from(width);
        let chroma = vec![200; luma.len()];
        let planes = Planes::new(
            (width, height),
            (luma, stride),
            (&chroma, stride),
            (&chroma, stride),
        );
        let mut jpeg = Vec::new();
        let mut encoder = Encoder::new(90).unwrap();
        encoder.encode(planes.unwrap(), None, &mut jpeg).unwrap();
        jpeg
    }

    #[test]
    fn it_is_the_mean_of_all_samples() {
        for grey in [0, 16, 100, 128, 200, 255] {
            let found = of(&jpeg(&[grey; 48 * 32], (48, 32))).unwrap();
            assert!((found - f32::from(grey)).abs() <= 1.0, "{grey}: {found}");
        }
        let slope: Vec<u8> = (0..64 * 64).map(|n| (n / 16) as u8).collect();
        let found = of(&jpeg(&slope, (64, 64))).unwrap();
        assert!((found - 127.5).abs() <= 1.0, "{found}");
    }

    #[test]
    fn what_is_damaged_has_none_and_what_lacks_the_usual_tables_does_not_need_them() {
        let whole = jpeg(&[77; 48 * 32], (48, 32));
        let mut without = whole.clone();
        let tables = Segments::of(&whole).unwrap().map_while(Result::ok);
        let tables = tables.filter(|segment| segment.code == marker::DHT);
        let tables: Vec<_> = tables.map(|segment| segment.start..segment.end).collect();
        assert!(!tables.is_empty());
        for table in tables.into_iter().rev() {
            without.drain(table);
        }
        assert_eq!(of(&without), of(&whole));
        assert_eq!(of(&whole[..whole.len() / 2]), None);
        assert_eq!(of(b""), None);
    }
}
