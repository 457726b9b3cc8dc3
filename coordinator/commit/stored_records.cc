#include "coordinator/commit/stored_records.h"

#include <string>
#include <utility>
#include <variant>
#include <vector>

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
constexpr size_t kPortionBytes = 48 << 10;
constexpr size_t kPortionsMax = 16;

template <typename Record>
void AddOperation(const Mutation::PutOperation<Record>& put, RecordBatch* batch) {
  batch->Put(EntityTraits<Record>::kTable, RecordId(put.key()), put.record());
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

// Records that follow each other: as bytes, and then parsed.
struct StoredRecords::Portion {
  struct Sizes {
    size_t table, id, bytes;
  };

  Portion() { text.reserve(kPortionBytes); }
  void Add(std::string_view table, std::string_view id, std::string_view bytes);
  bool is_full() const { return text.size() >= kPortionBytes * 3 / 4; }
  // Makes `mutation` and `modernized` of the bytes. Done by one thread, which has taken the portion.
  absl::Status Parse();

  std::string text;  // of each record: table, id, bytes
  std::vector<Sizes> sizes;

  Mutation mutation;
  RecordBatch modernized;
  absl::Status status;
  bool is_parsed = false;  // by the lock of StoredRecords; until it is set, all else is of the thread that parses
};

void StoredRecords::Portion::Add(std::string_view table, std::string_view id, std::string_view bytes) {
  text.append(table).append(id).append(bytes);
  sizes.push_back({table.size(), id.size(), bytes.size()});
}

absl::Status StoredRecords::Portion::Parse() {
  std::string_view rest = text;
  const auto take = [&rest](size_t size) {
    const std::string_view taken = rest.substr(0, size);
    rest.remove_prefix(size);
    return taken;
  };
  for (const Sizes& size : sizes) {
    const std::string_view table = take(size.table);
    const std::string_view id = take(size.id);
    bool must_be_stored = false;
    const size_t num_before = mutation.operations().size();
    const absl::Status added = State::AddStored(table, take(size.bytes), &mutation, &must_be_stored);
    if (!added.ok()) return absl::DataLossError(absl::StrCat("record ", std::string(id), ": ", added.message()));
    if (must_be_stored) AddToBatch(mutation, &modernized, num_before);
  }
  return absl::OkStatus();
}

StoredRecords::StoredRecords(const RecordStore* store) : store_(store) {
  Scan();
  {
    absl::MutexLock lock(&mu_);
    if (!absl::IsCancelled(scan_status_)) return;
    is_scanned_ = false;
  }
  has_threads_ = true;
  scanner_ = std::thread([this] { Scan(); });
  parser_ = std::thread([this] { ParseUntilEnd(); });
}

StoredRecords::~StoredRecords() {
  {
    absl::MutexLock lock(&mu_);
    is_unwanted_ = true;
  }
  if (!has_threads_) return;
  scanner_.join();
  parser_.join();
}

std::optional<Mutation> StoredRecords::Next() {
  std::unique_ptr<Portion> portion;
  {
    absl::MutexLock lock(&mu_);
    auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
      return portions_.empty() ? is_scanned_ : portions_.front()->is_parsed || num_taken_ < portions_.size();
    };
    while (true) {
      mu_.Await(absl::Condition(&has_news));
      if (portions_.empty()) {
        status_ = scan_status_;
        return std::nullopt;
      }
      if (portions_.front()->is_parsed) break;
      ParseNext();
    }
    portion = std::move(portions_.front());
    portions_.pop_front();
    --num_taken_;
  }
  if (!portion->status.ok()) {
    status_ = portion->status;
    return std::nullopt;
  }
  modernized_.Append(std::move(portion->modernized));
  return std::move(portion->mutation);
}

bool StoredRecords::HandOver(std::unique_ptr<Portion> portion) {
  absl::MutexLock lock(&mu_);
  auto may_go_on = [this]()
                       ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return portions_.size() < kPortionsMax || is_unwanted_; };
  mu_.Await(absl::Condition(&may_go_on));
  num_handed_over_ += portion->sizes.size();
  portions_.push_back(std::move(portion));
  return !is_unwanted_ && (has_threads_ || portions_.size() < kPortionsMax);
}

void StoredRecords::Scan() {
  absl::Status status = ScanAll();
  absl::MutexLock lock(&mu_);
  scan_status_ = std::move(status);
  is_scanned_ = true;
}

absl::Status StoredRecords::ScanAll() {
  auto portion = std::make_unique<Portion>();
  size_t num_known = num_handed_over_;
  URSA_RETURN_IF_ERROR(store_->VisitAll([&](std::string_view table, std::string_view id,
                                            std::string_view bytes) -> absl::Status {
    if (table == kMetaTable) return ReadCommit(id, bytes);
    if (num_known > 0) {
      --num_known;
      return absl::OkStatus();
    }
    portion->Add(table, id, bytes);
    if (!portion->is_full()) return absl::OkStatus();
    return HandOver(std::exchange(portion, std::make_unique<Portion>())) ? absl::OkStatus() : absl::CancelledError();
  }));
  HandOver(std::move(portion));
  return absl::OkStatus();
}

void StoredRecords::ParseUntilEnd() {
  absl::MutexLock lock(&mu_);
  auto has_news = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return num_taken_ < portions_.size() || is_scanned_ || is_unwanted_;
  };
  while (true) {
    mu_.Await(absl::Condition(&has_news));
    if (is_unwanted_ || num_taken_ == portions_.size()) return;
    ParseNext();
  }
}

void StoredRecords::ParseNext() {
  Portion* const portion = portions_[num_taken_++].get();
  mu_.Unlock();
  portion->status = portion->Parse();
  mu_.Lock();
  portion->is_parsed = true;
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
