// Small models and data for tests of the trainer.
#ifndef URSA_WORKER_TRAIN_TRAINING_TESTING_H_
#define URSA_WORKER_TRAIN_TRAINING_TESTING_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "worker/nn/model.h"
#include "worker/train/batch_source.h"
#include "worker/train/checkpoint.h"
#include "worker/train/trainer.h"

namespace ursa {

// Batches of tensors in memory, in order, every epoch alike; each rank gets a contiguous share of each batch.
class TensorBatchSource : public BatchSource {
 public:
  struct Data {
    at::Tensor train_images, train_labels, valid_images, valid_labels;
    int64_t batch_size = 8;  // over all ranks
    bool drop_last = false;
  };
  TensorBatchSource(Data data, int rank, int world_size) : data_(std::move(data)), rank_(rank), world_(world_size) {}

  int64_t num_train_steps() const override;
  absl::StatusOr<Batch> NextTrain(int64_t epoch, int64_t step_in_epoch) override;
  int64_t num_valid_examples() const override { return data_.valid_labels.defined() ? data_.valid_labels.numel() : 0; }
  absl::Status StartValid() override;
  absl::StatusOr<std::optional<Batch>> NextValid() override;

 private:
  Batch Share(const at::Tensor& images, const at::Tensor& labels, int64_t begin, int64_t end) const;
  Data data_;
  int rank_, world_;
  int64_t next_valid_ = 0;
};

// Learnable images [num, 3, size, size] of `num_classes` classes: a pattern for each, and noise.
TensorBatchSource::Data MakeImages(int64_t num_train, int64_t num_valid, int num_classes, int64_t size);

// A convolutional net with the fused batch norm's channel counts, dropout, and three parameter groups.
std::unique_ptr<Model> MakeSmallNet(int num_classes, bool with_norms, double dropout);

// Everything that a run told and saved.
struct RunRecord : public TrainObserver, public CheckpointSink {
  void OnMetric(const MetricPoint& point) override { points.push_back(point); }
  void OnStep(const TrainProgress& progress) override { steps.push_back(progress); }
  void OnEpoch(const EpochSummary& summary) override { epochs.push_back(summary); }
  absl::Status Write(Checkpoint checkpoint) override {
    checkpoints.push_back(std::move(checkpoint));
    return absl::OkStatus();
  }
  // The points as text, exact to the bit, one line each, the last one of each (name, step).
  std::string PointsText() const;

  std::vector<MetricPoint> points;
  std::vector<TrainProgress> steps;
  std::vector<EpochSummary> epochs;
  std::vector<Checkpoint> checkpoints;
};

// The model's state as bytes.
std::string StateBytes(const Model& model);

}  // namespace ursa

#endif  // URSA_WORKER_TRAIN_TRAINING_TESTING_H_
