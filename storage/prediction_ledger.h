// The prediction ledger: logits by (artifact, transforms, example). Evaluation writes it once; every metric, slice and
// comparison is a join over it.
#ifndef URSA_STORAGE_PREDICTION_LEDGER_H_
#define URSA_STORAGE_PREDICTION_LEDGER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/kv_store.h"

namespace ursa {

// What made the predictions. Both are SHA-256 hashes as 64 lower-case hex digits.
struct PredictionSource {
  std::string artifact_hash;
  std::string transforms_hash;
};

struct Prediction {
  std::string example_id;     // 64 lower-case hex digits
  std::vector<float> logits;  // [num_outputs], kept to the bit
};

// Borrows its store. Thread-safe.
class PredictionLedger {
 public:
  struct Options {
    int64_t put_predictions_max = 100'000;  // in one call
    int64_t logits_max = 100'000;           // of one prediction
  };

  // `store` has passed CheckStoreFormat and outlives this.
  PredictionLedger(KvStore* store, const Options& options) : store_(store), options_(options) {}

  // All or none, durable on return. A prediction that is there already is replaced. INVALID_ARGUMENT: a hash or id that
  // is none; RESOURCE_EXHAUSTED: over a limit, or the disk is full.
  absl::Status Put(const PredictionSource& source, const std::vector<Prediction>& predictions);

  // Those of `example_ids` that have no prediction, in their order.
  absl::StatusOr<std::vector<std::string>> FindMissing(const PredictionSource& source,
                                                       const std::vector<std::string>& example_ids) const;

  // Logits of `example_ids` in their order, row-major [num_examples, num_outputs].
  struct Matrix {
    int64_t num_examples = 0;
    int64_t num_outputs = 0;
    std::vector<float> logits;
    const float* Row(int64_t example_index) const { return logits.data() + example_index * num_outputs; }
  };
  // Reads from `view`, so that several calls (two models, say) see one state: take it by Snapshot() once. Errors:
  // FAILED_PRECONDITION (predictions are missing: how many, and the first), DATA_LOSS (a stored value is damaged, or
  // rows differ in length).
  absl::StatusOr<Matrix> Read(const KvReader& view, const PredictionSource& source,
                              const std::vector<std::string>& example_ids) const;
  // A view of now. Must not outlive the store.
  std::unique_ptr<KvReader> Snapshot() const { return store_->Snapshot(); }

  // Number of predictions of a source; counts keys, so it takes time in proportion.
  absl::StatusOr<int64_t> Count(const PredictionSource& source) const;

  // Removes all predictions of a source.
  absl::Status Delete(const PredictionSource& source);

 private:
  KvStore* const store_;
  const Options options_;
};

}  // namespace ursa

#endif  // URSA_STORAGE_PREDICTION_LEDGER_H_
