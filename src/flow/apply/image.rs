//! The swap of an image, in the open transaction of its link.
//!
//! Owns: nothing but the way to the target; what is in an image is `seed::image`'s matter.

use super::Applier;
use crate::error::Result;
use crate::model::round::Round;
use crate::plan::image::Image;

impl Applier {
    /// The table becomes the image. Returns how many rows were written.
    pub(crate) async fn swap(&mut self, image: &Image) -> Result<u64> {
        self.target.swap(image).await
    }

    /// The round ends with the open transaction.
    pub(crate) async fn note_round(&mut self, round: &Round) -> Result<()> {
        let link = (self.spec.sync.as_str(), self.spec.id.as_str());
        self.target.note_round(link, round).await
    }
}
