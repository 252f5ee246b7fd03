//! Changing quotas.

use std::sync::Arc;

use super::controller::{Change, Controller, apply};
use super::image::Image;
use super::record::Record;
use crate::quota::{Entity, Key};

/// A wish to change the quotas of one entity, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterQuota {
    /// Whose.
    pub entity: Entity,
    /// What: new limits, or none to remove one.
    pub limits: Vec<(Key, Option<f64>)>,
}

impl Controller {
    /// Changes quotas. There is no change where they are as wished already.
    pub fn alter_quotas(&mut self, wanted: &[AlterQuota]) -> Option<Change> {
        let mut image = Image::clone(self.newest());
        let mut records = Vec::new();
        for AlterQuota { entity, limits: wanted } in wanted {
            let before = image.quotas().get(entity);
            let mut limits = before;
            for &(key, limit) in wanted {
                limits.set(key, limit);
            }
            if limits != before {
                let record = Record::ClientQuotaChanged { entity: entity.clone(), limits };
                apply(&mut image, &record);
                records.push(record);
            }
        }
        assert_eq!(Arc::ptr_eq(image.quotas(), self.newest().quotas()), records.is_empty(), "records are the changes");
        (!records.is_empty()).then(|| self.accept(records, image))
    }
}
