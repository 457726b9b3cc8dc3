// Decoded pictures kept in memory, so that later epochs need neither to read nor to decode.
#ifndef URSA_WORKER_DATA_IMAGE_CACHE_H_
#define URSA_WORKER_DATA_IMAGE_CACHE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "worker/data/image.h"

namespace ursa {

// Keeps the first images that fit, and never drops one: an epoch visits every example once, so an image that is put out
// to make room would have been as useful as the one let in. Thread-safe.
class ImageCache {
 public:
  // For examples 0..num_examples-1; at most `bytes_max` bytes of pixels.
  ImageCache(int64_t num_examples, int64_t bytes_max) : bytes_max_(bytes_max), images_(num_examples) {}

  // The image of example `index`, or null.
  std::shared_ptr<const RgbImage> Find(int64_t index) const;

  // Keeps `image` for example `index` if there is room and it has none. Moves from `image` only then; returns what is
  // kept, or null.
  std::shared_ptr<const RgbImage> Offer(int64_t index, RgbImage* image);

  int64_t bytes() const;

 private:
  const int64_t bytes_max_;
  mutable absl::Mutex mutex_;
  int64_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::shared_ptr<const RgbImage>> images_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ursa

#endif  // URSA_WORKER_DATA_IMAGE_CACHE_H_
