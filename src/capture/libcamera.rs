//! The source `libcamera`: cameras that need libcamera's processing, such as those on a Raspberry Pi's camera connector.

use libcamera::camera_manager::CameraManager;

use crate::error::{Context, Result};

/// The ids of the cameras that libcamera finds.
pub fn ids() -> Result<Vec<String>> {
    let manager = CameraManager::new().doing(|| "start libcamera".into())?;
    let cameras = manager.cameras();
    let all = (0..cameras.len()).filter_map(|i| cameras.get(i));
    Ok(all.map(|camera| camera.id().to_owned()).collect())
}
