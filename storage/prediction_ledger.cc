#include "storage/prediction_ledger.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status_macros.h"
#include "storage/coding.h"
#include "storage/failpoints.h"
#include "storage/keys.h"

namespace ursa {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "logits are stored as they lie in memory");

// prediction := format:u8 crc32c:u32 (of key and logits) logits:f32* (little-endian, as no other number: read in bulk)
constexpr size_t kHeaderBytes = 5;

uint32_t Checksum(std::string_view key, std::string_view logits) { return Crc32c(std::string(key).append(logits)); }

std::string Encode(std::string_view key, const std::vector<float>& logits) {
  const std::string_view bytes(reinterpret_cast<const char*>(logits.data()), logits.size() * sizeof(float));
  std::string value;
  value.reserve(kHeaderBytes + bytes.size());
  AppendU8(&value, kValueFormat);
  AppendU32(&value, Checksum(key, bytes));
  value.append(bytes);
  return value;
}

// The bytes of the logits, or nothing if they are damaged.
std::optional<std::string_view> Decode(std::string_view key, std::string_view value) {
  Decoder decoder(value);
  const uint8_t format = decoder.U8();
  const uint32_t checksum = decoder.U32();
  const std::string_view bytes = decoder.Rest();
  if (!decoder.ok() || format != kValueFormat || bytes.size() % sizeof(float) != 0) return std::nullopt;
  if (checksum != Checksum(key, bytes)) return std::nullopt;
  return bytes;
}

absl::Status CheckSource(const PredictionSource& source) {
  if (!IsDigestHex(source.artifact_hash) || !IsDigestHex(source.transforms_hash)) {
    return absl::InvalidArgumentError("predictions: artifact and transforms must be 64 lower-case hex digits each");
  }
  return absl::OkStatus();
}

absl::Status CheckExampleId(std::string_view id) {
  if (IsDigestHex(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("predictions: an example id must be 64 lower-case hex digits, has ", id.size(), " bytes"));
}

std::string Describe(const PredictionSource& source) {
  return absl::StrCat("predictions of artifact ", source.artifact_hash.substr(0, 12), " with transforms ",
                      source.transforms_hash.substr(0, 12));
}

KeyRange SourceRange(const PredictionSource& source) {
  return PrefixRange(PredictionSourcePrefix(source.artifact_hash, source.transforms_hash));
}

// Calls `visit` once for each example, in the order of the keys, with its index and its stored value if there is one.
using JoinVisitor =
    std::function<absl::Status(size_t example_index, std::string_view key, std::optional<std::string_view> value)>;
absl::Status Join(const KvReader& view, const PredictionSource& source, const std::vector<std::string>& example_ids,
                  const JoinVisitor& visit) {
  URSA_RETURN_IF_ERROR(CheckSource(source));
  for (const std::string& id : example_ids) URSA_RETURN_IF_ERROR(CheckExampleId(id));
  std::vector<size_t> order(example_ids.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return example_ids[a] < example_ids[b]; });
  // One walk in key order. A step to the next key is far cheaper than a seek, so a few are tried first: that suits both
  // a whole evaluation set and a small part of one.
  constexpr int kStepsMax = 8;
  const std::unique_ptr<KvIterator> iterator = view.NewIterator(SourceRange(source));
  for (const size_t index : order) {
    const std::string key = PredictionKey(source.artifact_hash, source.transforms_hash, example_ids[index]);
    for (int i = 0; i < kStepsMax && iterator->Valid() && iterator->key() < key; ++i) iterator->Next();
    if (iterator->Valid() && iterator->key() < key) iterator->Seek(key);
    URSA_RETURN_IF_ERROR(iterator->status());
    const bool found = iterator->Valid() && iterator->key() == key;
    URSA_RETURN_IF_ERROR(visit(index, key, found ? std::optional(iterator->value()) : std::nullopt));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status PredictionLedger::Put(const PredictionSource& source, const std::vector<Prediction>& predictions) {
  URSA_RETURN_IF_ERROR(CheckSource(source));
  if (static_cast<int64_t>(predictions.size()) > options_.put_predictions_max) {
    return absl::ResourceExhaustedError(absl::StrCat(Describe(source), ": at most ", options_.put_predictions_max,
                                                     " a call, got ", predictions.size()));
  }
  WriteBatch batch;
  for (const Prediction& prediction : predictions) {
    URSA_RETURN_IF_ERROR(CheckExampleId(prediction.example_id));
    if (static_cast<int64_t>(prediction.logits.size()) > options_.logits_max) {
      return absl::ResourceExhaustedError(absl::StrCat(Describe(source), ": at most ", options_.logits_max,
                                                       " logits an example, got ", prediction.logits.size()));
    }
    std::string key = PredictionKey(source.artifact_hash, source.transforms_hash, prediction.example_id);
    std::string value = Encode(key, prediction.logits);
    batch.Put(std::move(key), std::move(value));
  }
  if (batch.empty()) return absl::OkStatus();
  URSA_RETURN_IF_ERROR(failpoints::ledger_before_put.Pass());
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kSynced));
  failpoints::ledger_put.Pass();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> PredictionLedger::FindMissing(
    const PredictionSource& source, const std::vector<std::string>& example_ids) const {
  std::vector<size_t> missing;
  URSA_RETURN_IF_ERROR(Join(*store_, source, example_ids,
                            [&missing](size_t index, std::string_view key, std::optional<std::string_view> value) {
                              if (!value.has_value()) missing.push_back(index);
                              return absl::OkStatus();
                            }));
  std::sort(missing.begin(), missing.end());
  std::vector<std::string> ids;
  ids.reserve(missing.size());
  for (const size_t index : missing) ids.push_back(example_ids[index]);
  return ids;
}

absl::StatusOr<PredictionLedger::Matrix> PredictionLedger::Read(const KvReader& view, const PredictionSource& source,
                                                                const std::vector<std::string>& example_ids) const {
  Matrix matrix;
  matrix.num_examples = static_cast<int64_t>(example_ids.size());
  std::optional<size_t> row_bytes;
  int64_t num_missing = 0;
  size_t first_missing = example_ids.size();
  URSA_RETURN_IF_ERROR(
      Join(view, source, example_ids,
           [&](size_t index, std::string_view key, std::optional<std::string_view> value) -> absl::Status {
             if (!value.has_value()) {
               ++num_missing;
               first_missing = std::min(first_missing, index);
               return absl::OkStatus();
             }
             const std::optional<std::string_view> bytes = Decode(key, *value);
             if (!bytes.has_value()) {
               return absl::DataLossError(
                   absl::StrCat(Describe(source), ": the one of example ", example_ids[index], " is damaged"));
             }
             if (!row_bytes.has_value()) {
               row_bytes = bytes->size();
               matrix.num_outputs = static_cast<int64_t>(*row_bytes / sizeof(float));
               matrix.logits.resize(example_ids.size() * matrix.num_outputs);
             }
             if (bytes->size() != *row_bytes) {
               return absl::DataLossError(absl::StrCat(Describe(source), ": example ", example_ids[index], " has ",
                                                       bytes->size() / sizeof(float), " logits, others have ",
                                                       matrix.num_outputs));
             }
             if (!bytes->empty()) std::memcpy(&matrix.logits[index * matrix.num_outputs], bytes->data(), bytes->size());
             return absl::OkStatus();
           }));
  if (num_missing > 0) {
    return absl::FailedPreconditionError(absl::StrCat(Describe(source), ": ", num_missing, " of ", example_ids.size(),
                                                      " examples have none, the first is ",
                                                      example_ids[first_missing]));
  }
  return matrix;
}

absl::StatusOr<int64_t> PredictionLedger::Count(const PredictionSource& source) const {
  URSA_RETURN_IF_ERROR(CheckSource(source));
  int64_t count = 0;
  const std::unique_ptr<KvIterator> iterator = store_->NewIterator(SourceRange(source));
  for (; iterator->Valid(); iterator->Next()) ++count;
  URSA_RETURN_IF_ERROR(iterator->status());
  return count;
}

absl::Status PredictionLedger::Delete(const PredictionSource& source) {
  URSA_RETURN_IF_ERROR(CheckSource(source));
  const KeyRange range = SourceRange(source);
  WriteBatch batch;
  batch.DeleteRange(range.begin, range.end);
  return store_->Write(batch, Durability::kSynced);
}

}  // namespace ursa
