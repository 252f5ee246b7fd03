//! Setting the levels of features.

use super::{Change, Controller, apply};
use crate::metadata::features::{NewLevel, NotUpdated, feature};
use crate::metadata::image::Image;
use crate::metadata::record::Record;

impl Controller {
    /// Sets the levels of features, all of them or none. There is a change if one of them is not in force yet.
    pub fn update_features(
        &mut self,
        wanted: &[NewLevel<'_>],
        validate_only: bool,
    ) -> Result<Option<Change>, NotUpdated> {
        let mut image = Image::clone(&self.newest);
        let mut records = Vec::new();
        for wish in wanted {
            wish.check(&self.newest)?;
            let feature = feature(wish.name).expect("it was just checked");
            if image.feature_level(feature) != wish.level {
                let record = Record::FeatureLevelChanged { name: wish.name.to_owned(), level: wish.level };
                apply(&mut image, &record);
                records.push(record);
            }
        }
        let stored = !validate_only && !records.is_empty();
        Ok(stored.then(|| self.accept(records, image)))
    }
}
