#include "worker/data/loader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "experiments/mt19937.h"
#include "worker/data/image_cache.h"
#include "worker/data/image_decoder.h"

namespace ursa {
namespace {

constexpr int kThreadsMax = 256;
constexpr int kPrefetchMax = 64;

// Memory for the pixels of batches, used again and again: a fresh 40 MB buffer a step would cost its page faults. Lives
// as long as a buffer of it.
class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  BufferPool(int64_t num_values, size_t num_kept_max) : num_values_(num_values), num_kept_max_(num_kept_max) {}
  ~BufferPool() {
    for (float* buffer : free_) std::free(buffer);
  }
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  std::shared_ptr<float> Take() {
    float* buffer = nullptr;
    {
      absl::MutexLock lock(&mutex_);
      if (!free_.empty()) {
        buffer = free_.back();
        free_.pop_back();
      }
    }
    if (buffer == nullptr) {
      constexpr size_t kAlignment = 64;
      const size_t bytes = (num_values_ * sizeof(float) + kAlignment) / kAlignment * kAlignment;
      buffer = static_cast<float*>(std::aligned_alloc(kAlignment, bytes));
      URSA_CHECK(buffer != nullptr) << "no memory for a batch of " << bytes << " bytes";
    }
    return std::shared_ptr<float>(buffer, [pool = shared_from_this()](float* returned) { pool->Return(returned); });
  }

 private:
  void Return(float* buffer) {
    {
      absl::MutexLock lock(&mutex_);
      if (free_.size() < num_kept_max_) {
        free_.push_back(buffer);
        return;
      }
    }
    std::free(buffer);
  }

  const int64_t num_values_;
  const size_t num_kept_max_;
  absl::Mutex mutex_;
  std::vector<float*> free_ ABSL_GUARDED_BY(mutex_);
};

// A batch in work. Its images are made one by one, by whoever is free.
struct PendingBatch {
  int64_t epoch = 0;
  int64_t step = 0;
  HostBatch batch;  // complete but for the pixels from the start
  int64_t num_claimed = 0;
  int64_t num_done = 0;
  int64_t failed_slot = -1;  // lowest
  absl::Status failure;

  bool has_work() const { return num_claimed < batch.size(); }
  bool is_done() const { return num_done == batch.size(); }
};

// What one thread keeps between images.
struct ThreadScratch {
  RgbImage decoded;
  TransformScratch transform;
};

absl::Status OutOfRange(const char* field, int64_t value, const char* range) {
  return absl::InvalidArgumentError(absl::StrCat("loader: ", field, " is ", value, ", must be ", range));
}

}  // namespace

absl::Status LoaderOptions::Validate() const {
  if (batch_size < 1) return OutOfRange("batch_size", batch_size, "positive");
  if (world_size < 1) return OutOfRange("world_size", world_size, "positive");
  if (rank < 0 || rank >= world_size) return OutOfRange("rank", rank, "in 0..world_size-1");
  if (mode == TransformMode::kTraining && batch_size % world_size != 0) {
    return OutOfRange("batch_size", batch_size, absl::StrCat("a multiple of the ", world_size, " ranks").c_str());
  }
  if (num_threads < 0 || num_threads > kThreadsMax) return OutOfRange("num_threads", num_threads, "in 0..256");
  if (prefetch_batches < 1 || prefetch_batches > kPrefetchMax) {
    return OutOfRange("prefetch_batches", prefetch_batches, "in 1..64");
  }
  if (cache_bytes_max < 0) return OutOfRange("cache_bytes_max", cache_bytes_max, "0 or more");
  return image_limits.Validate();
}

class Loader::Impl {
 public:
  Impl(std::shared_ptr<const ExampleSource> source, const TransformGraph& graph, const LoaderOptions& options)
      : source_(std::move(source)),
        graph_(graph),
        options_(options),
        num_image_values_(NumOutputValues(graph)),
        pool_(std::make_shared<BufferPool>(num_image_values_ * ((options.batch_size - 1) / options.world_size + 1),
                                           options.prefetch_batches + 2)),
        cache_(source_->size(), options.cache_bytes_max),
        order_(options.seed, source_->size()) {
    for (int i = 0; i < options_.num_threads; ++i) threads_.emplace_back([this] { RunThread(); });
  }

  ~Impl() {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
      work_to_do_.SignalAll();
    }
    for (std::thread& thread : threads_) thread.join();
  }

  absl::StatusOr<HostBatch> Get(int64_t epoch, int64_t step);

  int64_t steps_per_epoch() const {
    const int64_t size = source_->size();
    return training() ? size / options_.batch_size : (size + options_.batch_size - 1) / options_.batch_size;
  }
  absl::Duration data_wait() const { return absl::Nanoseconds(wait_nanoseconds_.load()); }
  int64_t cache_bytes() const { return cache_.bytes(); }

 private:
  bool training() const { return options_.mode == TransformMode::kTraining; }

  std::shared_ptr<PendingBatch> MakePending(int64_t epoch, int64_t step);
  // Brings the queue to its length, from what stands behind `epoch`, `step` or behind the last one queued.
  void FillQueue(int64_t epoch, int64_t step) ABSL_LOCKS_EXCLUDED(mutex_);
  // Takes one image of the first batch that has one left; false if there is none.
  bool Claim(std::shared_ptr<PendingBatch>* pending, int64_t* slot) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(PendingBatch* pending, int64_t slot, absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status MakeImage(const PendingBatch& pending, int64_t slot, ThreadScratch* scratch);
  absl::Status Decode(int64_t index, RgbImage* image) const;
  void RunThread() ABSL_LOCKS_EXCLUDED(mutex_);

  const std::shared_ptr<const ExampleSource> source_;
  const TransformGraph graph_;
  const LoaderOptions options_;
  const int64_t num_image_values_;
  const std::shared_ptr<BufferPool> pool_;
  ImageCache cache_;
  std::atomic<int64_t> wait_nanoseconds_{0};

  // Used by the thread that calls Get only.
  LoaderOrder order_;
  int64_t epoch_of_indices_ = -1;
  std::vector<int64_t> epoch_indices_;
  ThreadScratch caller_scratch_;

  absl::Mutex mutex_;
  absl::CondVar work_to_do_ ABSL_GUARDED_BY(mutex_);
  absl::CondVar batch_done_ ABSL_GUARDED_BY(mutex_);
  std::deque<std::shared_ptr<PendingBatch>> queue_ ABSL_GUARDED_BY(mutex_);  // in the order in which they are asked for
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

std::shared_ptr<PendingBatch> Loader::Impl::MakePending(int64_t epoch, int64_t step) {
  auto pending = std::make_shared<PendingBatch>();
  pending->epoch = epoch;
  pending->step = step;
  HostBatch& batch = pending->batch;
  const int64_t begin = step * options_.batch_size;
  batch.global_size = std::min(options_.batch_size, source_->size() - begin);
  const int64_t slice_begin = begin + options_.rank * batch.global_size / options_.world_size;
  const int64_t slice_end = begin + (options_.rank + 1) * batch.global_size / options_.world_size;
  if (training() && epoch_of_indices_ != epoch) {
    epoch_indices_ = order_.EpochOrder(epoch);
    epoch_of_indices_ = epoch;
  }
  for (int64_t position = slice_begin; position < slice_end; ++position) {
    const int64_t index = training() ? epoch_indices_[position] : position;
    batch.indices.push_back(index);
    batch.labels.push_back(source_->Label(index));
  }
  const PixelBox size = OutputSize(graph_.item);
  batch.height = size.height;
  batch.width = size.width;
  batch.images = pool_->Take();
  return pending;
}

void Loader::Impl::FillQueue(int64_t epoch, int64_t step) {
  size_t length = 0;
  {
    absl::MutexLock lock(&mutex_);
    length = queue_.size();
    if (length > 0) {
      epoch = queue_.back()->epoch;
      step = queue_.back()->step;
    }
  }
  if (options_.num_threads == 0) return;
  // Only this thread puts in and takes out, so the length does not change meanwhile.
  for (; length < static_cast<size_t>(options_.prefetch_batches); ++length) {
    if (++step == steps_per_epoch()) {
      if (!training()) return;
      ++epoch;
      step = 0;
    }
    std::shared_ptr<PendingBatch> pending = MakePending(epoch, step);
    absl::MutexLock lock(&mutex_);
    queue_.push_back(std::move(pending));
    work_to_do_.SignalAll();
  }
}

absl::StatusOr<HostBatch> Loader::Impl::Get(int64_t epoch, int64_t step) {
  if (epoch < 0 || (!training() && epoch > 0) || step < 0 || step >= steps_per_epoch()) {
    return absl::OutOfRangeError(absl::StrCat("loader: no epoch ", epoch, " step ", step, ", an epoch has ",
                                              steps_per_epoch(), " steps", training() ? "" : ", evaluation one epoch"));
  }
  const auto begin = std::chrono::steady_clock::now();
  std::shared_ptr<PendingBatch> wanted;
  {
    absl::MutexLock lock(&mutex_);
    // A seek drops what was made ahead; images in hand are finished into memory that nobody will look at.
    if (!queue_.empty() && (queue_.front()->epoch != epoch || queue_.front()->step != step)) queue_.clear();
    if (!queue_.empty()) wanted = queue_.front();
  }
  if (wanted == nullptr) {
    wanted = MakePending(epoch, step);
    absl::MutexLock lock(&mutex_);
    queue_.push_back(wanted);
    work_to_do_.SignalAll();
  }
  absl::ReleasableMutexLock lock(&mutex_);
  while (!wanted->is_done()) {
    if (!wanted->has_work()) {
      batch_done_.Wait(&mutex_);
      continue;
    }
    const int64_t slot = wanted->num_claimed++;
    mutex_.Unlock();
    absl::Status status = MakeImage(*wanted, slot, &caller_scratch_);
    mutex_.Lock();
    Finish(wanted.get(), slot, std::move(status));
  }
  queue_.pop_front();
  lock.Release();
  const auto waited = std::chrono::steady_clock::now() - begin;
  wait_nanoseconds_ += std::chrono::duration_cast<std::chrono::nanoseconds>(waited).count();
  URSA_RETURN_IF_ERROR(wanted->failure);
  FillQueue(epoch, step);
  return std::move(wanted->batch);
}

bool Loader::Impl::Claim(std::shared_ptr<PendingBatch>* pending, int64_t* slot) {
  for (const auto& candidate : queue_) {
    if (!candidate->has_work()) continue;
    *slot = candidate->num_claimed++;
    *pending = candidate;
    return true;
  }
  return false;
}

void Loader::Impl::Finish(PendingBatch* pending, int64_t slot, absl::Status status) {
  // The lowest place, so that the error does not depend on which thread was first.
  if (!status.ok() && (pending->failed_slot < 0 || slot < pending->failed_slot)) {
    pending->failed_slot = slot;
    pending->failure = std::move(status);
  }
  if (++pending->num_done == pending->batch.size()) batch_done_.SignalAll();
}

void Loader::Impl::RunThread() {
  ThreadScratch scratch;
  std::shared_ptr<PendingBatch> pending;
  int64_t slot = 0;
  absl::MutexLock lock(&mutex_);
  while (!stopping_) {
    if (!Claim(&pending, &slot)) {
      work_to_do_.Wait(&mutex_);
      continue;
    }
    mutex_.Unlock();
    absl::Status status = MakeImage(*pending, slot, &scratch);
    mutex_.Lock();
    Finish(pending.get(), slot, std::move(status));
    pending.reset();
  }
}

absl::Status Loader::Impl::Decode(int64_t index, RgbImage* image) const {
  URSA_ASSIGN_OR_RETURN(const std::string bytes, source_->Read(index));
  return DecodeImage(bytes, options_.image_limits, image);
}

absl::Status Loader::Impl::MakeImage(const PendingBatch& pending, int64_t slot, ThreadScratch* scratch) {
  const int64_t index = pending.batch.indices[slot];
  float* const output = pending.batch.images.get() + slot * num_image_values_;
  CounterRng rng(options_.seed, static_cast<uint64_t>(index), static_cast<uint32_t>(pending.epoch));
  RngDraws draws(&rng);
  // Where the item transform has no draws its small result is kept, else the decoded picture.
  const bool keep_item = !IsRandom(graph_.item, options_.mode);
  RgbImage& item = scratch->transform.item;

  std::shared_ptr<const RgbImage> cached = cache_.Find(index);
  absl::Status status;
  if (cached == nullptr) {
    status = Decode(index, &scratch->decoded);
    if (status.ok() && !keep_item) cached = cache_.Offer(index, &scratch->decoded);
  }
  if (status.ok() && !(keep_item && cached != nullptr)) {
    const RgbImage& decoded = cached != nullptr ? *cached : scratch->decoded;
    status = ApplyItem(graph_, decoded, options_.mode, &draws, &scratch->transform.resize, &item);
    if (status.ok() && keep_item) cached = cache_.Offer(index, &item);
  }
  if (!status.ok()) {
    return absl::Status(status.code(), absl::StrCat("example ", source_->Id(index), " (", source_->Location(index),
                                                    "): ", std::string(status.message())));
  }
  const RgbImage& ready = keep_item && cached != nullptr ? *cached : item;
  ApplyAfterItem(graph_, ready, options_.mode, &draws, &scratch->transform.batch, output);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Loader>> Loader::Create(std::shared_ptr<const ExampleSource> source,
                                                       const TransformGraph& graph, const LoaderOptions& options) {
  URSA_RETURN_IF_ERROR(options.Validate());
  URSA_RETURN_IF_ERROR(graph.Validate());
  const int64_t num_needed = options.mode == TransformMode::kTraining ? options.batch_size : 1;
  if (source->size() < num_needed) {
    return absl::FailedPreconditionError(absl::StrCat("loader: ", source->size(), " examples do not fill a batch of ",
                                                      num_needed, ", hint: a smaller batch_size or more examples"));
  }
  return std::unique_ptr<Loader>(new Loader(std::make_unique<Impl>(std::move(source), graph, options)));
}

Loader::Loader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Loader::~Loader() = default;

absl::StatusOr<HostBatch> Loader::Get(int64_t epoch, int64_t step) { return impl_->Get(epoch, step); }
int64_t Loader::steps_per_epoch() const { return impl_->steps_per_epoch(); }
absl::Duration Loader::data_wait() const { return impl_->data_wait(); }
int64_t Loader::cache_bytes() const { return impl_->cache_bytes(); }

}  // namespace ursa
