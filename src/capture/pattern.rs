//! temp
use super::source::*;
use crate::error::Result as R;
use std::os::fd::BorrowedFd;
use std::time::*;
/// t
pub struct Pattern;
impl Pattern {
    /// t
    pub fn new(_w: u16, _h: u16, _f: f64, _q: u8) -> R<Self> {
        Ok(Pattern)
    }
}
impl Source for Pattern {
    fn describe(&self) -> String {
        String::new()
    }
    fn start(&mut self, _: Instant) -> Result<(), Trouble> {
        todo!()
    }
    fn stop(&mut self) {}
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn advance(&mut self, _: Instant) -> Result<Option<Captured>, Trouble> {
        todo!()
    }
    fn jpeg(&mut self) -> Result<&[u8], Trouble> {
        todo!()
    }
}
