#include "worker/data/image_cache.h"

#include <utility>

namespace ursa {

std::shared_ptr<const RgbImage> ImageCache::Find(int64_t index) const {
  absl::MutexLock lock(&mutex_);
  return images_[index];
}

std::shared_ptr<const RgbImage> ImageCache::Offer(int64_t index, RgbImage* image) {
  absl::MutexLock lock(&mutex_);
  // What the memory holds, not what the picture needs: a buffer that was larger before stays so.
  const auto image_bytes = static_cast<int64_t>(image->pixels.capacity());
  if (images_[index] != nullptr || bytes_ + image_bytes > bytes_max_) return nullptr;
  bytes_ += image_bytes;
  images_[index] = std::make_shared<const RgbImage>(std::move(*image));
  return images_[index];
}

int64_t ImageCache::bytes() const {
  absl::MutexLock lock(&mutex_);
  return bytes_;
}

}  // namespace ursa
