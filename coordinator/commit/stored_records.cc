#include "coordinator/commit/stored_records.h"

#include <string>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/state/entities.h"
#include "coordinator/state/state.h"
#include "ursa/storage/v1/records.pb.h"

namespace ursa {
namespace {

constexpr std::string_view kMetaTable = "meta";
constexpr std::string_view kCommitId = "commit";

// A portion is large enough that handing it over costs nothing, and small enough to still be in the processor's cache.
constexpr size_t kRecordsAPortion = 256;
constexpr size_t kPortionsMax = 16;

template <typename Record>
void AddOperation(const Mutation::PutOperation<Record>& put, RecordBatch* batch) {
  batch->Put(EntityTraits<Record>::kTable, RecordId(EntityTraits<Record>::KeyOf(put.record)), put.record);
}
template <typename Record>
void AddOperation(const Mutation::DeleteOperation<Record>& deletion, RecordBatch* batch) {
  batch->Delete(EntityTraits<Record>::kTable, RecordId(deletion.key));
}

}  // namespace

void AddToBatch(const Mutation& mutation, RecordBatch* batch, size_t first) {
  for (size_t i = first; i < mutation.operations().size(); ++i) {
    std::visit([batch](const auto& typed) { AddOperation(typed, batch); }, mutation.operations()[i]);
  }
}

void AddCommitToBatch(uint64_t sequence, RecordBatch* batch) {
  records::CommitRecord record;
  record.set_sequence(sequence);
  batch->Put(kMetaTable, kCommitId, record);
}

StoredRecords::StoredRecords(const RecordStore* store) : store_(store), thread_([this] { Read(); }) {}

StoredRecords::~StoredRecords() {
  {
    absl::MutexLock lock(&mu_);
    is_unwanted_ = true;
  }
  thread_.join();
}

std::optional<Mutation> StoredRecords::Next() {
  absl::MutexLock lock(&mu_);
  auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !portions_.empty() || is_read_; };
  mu_.Await(absl::Condition(&has_news));
  if (portions_.empty()) return std::nullopt;
  Mutation portion = std::move(portions_.front());
  portions_.pop_front();
  return portion;
}

bool StoredRecords::HandOver(Mutation portion) {
  absl::MutexLock lock(&mu_);
  auto may_go_on = [this]()
                       ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return portions_.size() < kPortionsMax || is_unwanted_; };
  mu_.Await(absl::Condition(&may_go_on));
  portions_.push_back(std::move(portion));
  return !is_unwanted_;
}

void StoredRecords::Read() {
  status_ = ReadAll();
  absl::MutexLock lock(&mu_);
  is_read_ = true;
}

absl::Status StoredRecords::ReadAll() {
  Mutation portion;
  URSA_RETURN_IF_ERROR(
      store_->VisitAll([&](std::string_view table, std::string_view id, std::string_view bytes) -> absl::Status {
        if (table == kMetaTable) return ReadCommit(id, bytes);
        bool must_be_stored = false;
        const size_t num_before = portion.operations().size();
        const absl::Status status = State::AddStored(table, bytes, &portion, &must_be_stored);
        if (!status.ok()) {
          return absl::DataLossError(absl::StrCat("record ", std::string(id), ": ", status.message()));
        }
        if (must_be_stored) AddToBatch(portion, &modernized_, num_before);
        if (portion.operations().size() < kRecordsAPortion) return absl::OkStatus();
        return HandOver(std::exchange(portion, Mutation())) ? absl::OkStatus() : absl::CancelledError();
      }));
  HandOver(std::move(portion));
  return absl::OkStatus();
}

absl::Status StoredRecords::ReadCommit(std::string_view id, std::string_view bytes) {
  records::CommitRecord record;
  if (id != kCommitId || !record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError(absl::StrCat("record meta/", std::string(id), ": cannot be read"));
  }
  sequence_ = record.sequence();
  return absl::OkStatus();
}

}  // namespace ursa
