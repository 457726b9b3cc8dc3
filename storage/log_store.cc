#include "storage/log_store.h"

#include <algorithm>
#include <memory>
#include <queue>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/coding.h"
#include "storage/failpoints.h"

namespace ursa {
namespace {

// On disk, never renumber.
enum class EntryKind : uint8_t { kPiece = 0, kCut = 1 };

std::string Describe(LogStreamKey stream) {
  return absl::StrCat("log of e", stream.trial.experiment, " trial ", stream.trial.trial, " rank ", stream.rank);
}

// entry := format:u8 kind:u8 attempt:u32 offset:u64 time:u64 (microseconds since 1970) lost:u64 bytes
std::string EncodeEntry(EntryKind kind, const LogPiece& piece, uint64_t num_lost_bytes, std::string_view bytes) {
  std::string value;
  value.reserve(30 + bytes.size());
  AppendU8(&value, kValueFormat);
  AppendU8(&value, static_cast<uint8_t>(kind));
  AppendU32(&value, piece.attempt);
  AppendU64(&value, piece.offset);
  AppendU64(&value, static_cast<uint64_t>(absl::ToUnixMicros(piece.time)));
  AppendU64(&value, num_lost_bytes);
  value.append(bytes);
  return value;
}

absl::StatusOr<LogStore::Entry> DecodeEntry(std::string_view key, std::string_view value) {
  const std::optional<LogEntryName> name = ParseLogEntryKey(key);
  if (!name.has_value()) return absl::DataLossError("log entry: its key is damaged");
  Decoder decoder(value);
  const uint8_t format = decoder.U8();
  const uint8_t kind = decoder.U8();
  LogStore::Entry entry;
  entry.arrival = name->arrival;
  entry.stream = name->stream;
  entry.piece.attempt = decoder.U32();
  entry.piece.offset = decoder.U64();
  entry.piece.time = absl::FromUnixMicros(static_cast<int64_t>(decoder.U64()));
  entry.num_lost_bytes = decoder.U64();
  entry.piece.bytes = std::string(decoder.Rest());
  if (format != kValueFormat || kind > static_cast<uint8_t>(EntryKind::kCut) || !decoder.Done()) {
    return absl::DataLossError(
        absl::StrCat(Describe(name->stream), ": the stored form of entry ", name->arrival, " is damaged"));
  }
  if (kind == static_cast<uint8_t>(EntryKind::kCut)) {
    entry.piece.bytes =
        absl::StrCat("[", entry.num_lost_bytes, " bytes of this log were dropped here: it is over its limit]\n");
  }
  return entry;
}

}  // namespace

// What has arrived of one rank's log.
struct LogStore::StreamState {
  uint32_t attempt = 0;       // newest seen
  uint64_t next_offset = 0;   // of that attempt: all before has arrived
  uint64_t last_arrival = 0;  // number of the newest entry
  uint64_t head_bytes = 0;    // stored before the first piece of the tail
  uint64_t tail_bytes = 0;    // stored from `tail_begin` on
  uint64_t tail_begin = 0;    // entries from this arrival on are the tail; 0 while all fits into the head
  uint64_t cut_arrival = 0;   // of the cut mark; 0 if nothing is lost
  uint64_t lost_bytes = 0;

  std::string Encode() const {
    std::string value;
    AppendU8(&value, kValueFormat);
    AppendU32(&value, attempt);
    for (const uint64_t field :
         {next_offset, last_arrival, head_bytes, tail_bytes, tail_begin, cut_arrival, lost_bytes}) {
      AppendU64(&value, field);
    }
    return value;
  }

  static absl::StatusOr<StreamState> Decode(LogStreamKey stream, std::string_view value) {
    Decoder decoder(value);
    const uint8_t format = decoder.U8();
    StreamState state;
    state.attempt = decoder.U32();
    for (uint64_t* field : {&state.next_offset, &state.last_arrival, &state.head_bytes, &state.tail_bytes,
                            &state.tail_begin, &state.cut_arrival, &state.lost_bytes}) {
      *field = decoder.U64();
    }
    if (format != kValueFormat || !decoder.Done()) {
      return absl::DataLossError(absl::StrCat(Describe(stream), ": its stored state is damaged"));
    }
    return state;
  }
};

absl::Status LogStore::Options::Validate() const {
  if (piece_bytes_max < 1 || tail_bytes < piece_bytes_max || read_bytes_max < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "log store: must be piece_bytes_max >= 1, tail_bytes >= piece_bytes_max, read_bytes_max >= 1; are ",
        piece_bytes_max, ", ", tail_bytes, ", ", read_bytes_max));
  }
  return absl::OkStatus();
}

LogStore::LogStore(KvStore* store, const Options& options) : store_(store), options_(options) {
  URSA_CHECK_OK(options.Validate());
}

absl::StatusOr<LogStore::StreamState> LogStore::ReadState(LogStreamKey stream) const {
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> value, store_->Get(LogStreamStateKey(stream)));
  if (!value.has_value()) return StreamState();
  return StreamState::Decode(stream, *value);
}

absl::Status LogStore::VisitStreams(
    const KvReader& view, uint64_t experiment,
    const std::function<absl::Status(LogStreamKey stream, const StreamState& state)>& visit) {
  const std::unique_ptr<KvIterator> iterator = view.NewIterator(ExperimentRange(KeyPrefix::kLogStream, experiment));
  for (; iterator->Valid(); iterator->Next()) {
    const std::optional<LogStreamKey> stream = ParseLogStreamStateKey(iterator->key());
    if (!stream.has_value()) return absl::DataLossError("log stream: its key is damaged");
    URSA_ASSIGN_OR_RETURN(const StreamState state, StreamState::Decode(*stream, iterator->value()));
    URSA_RETURN_IF_ERROR(visit(*stream, state));
  }
  return iterator->status();
}

absl::StatusOr<uint64_t> LogStore::LastArrival(uint64_t experiment) const {
  const auto known = last_arrival_.find(experiment);
  if (known != last_arrival_.end()) return known->second;
  uint64_t last = 0;
  URSA_RETURN_IF_ERROR(VisitStreams(*store_, experiment, [&last](LogStreamKey stream, const StreamState& state) {
    last = std::max(last, state.last_arrival);
    return absl::OkStatus();
  }));
  return last;
}

absl::Status LogStore::Cut(LogStreamKey stream, StreamState* state, WriteBatch* batch) const {
  if (state->tail_bytes <= options_.tail_bytes + options_.tail_bytes / 8) return absl::OkStatus();
  const std::unique_ptr<KvIterator> iterator =
      store_->NewIterator({LogEntryKey(stream, state->tail_begin), LogEntryKey(stream, state->last_arrival) + '\0'});
  // The new mark takes the place of the last entry that goes; the old mark goes with them.
  const uint64_t first_gone = state->cut_arrival != 0 ? state->cut_arrival : state->tail_begin;
  Entry last_gone;
  for (; iterator->Valid() && state->tail_bytes > options_.tail_bytes; iterator->Next()) {
    URSA_ASSIGN_OR_RETURN(last_gone, DecodeEntry(iterator->key(), iterator->value()));
    state->tail_bytes -= last_gone.piece.bytes.size();
    state->lost_bytes += last_gone.piece.bytes.size();
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  if (state->tail_bytes > options_.tail_bytes) {
    return absl::DataLossError(absl::StrCat(Describe(stream), ": entries are missing"));
  }
  batch->DeleteRange(LogEntryKey(stream, first_gone), LogEntryKey(stream, last_gone.arrival));
  batch->Put(LogEntryKey(stream, last_gone.arrival),
             EncodeEntry(EntryKind::kCut, last_gone.piece, state->lost_bytes, ""));
  state->cut_arrival = last_gone.arrival;
  state->tail_begin = last_gone.arrival + 1;
  return absl::OkStatus();
}

absl::Status LogStore::Append(LogStreamKey stream, const std::vector<LogPiece>& pieces, Durability durability) {
  for (const LogPiece& piece : pieces) {
    if (piece.bytes.size() > options_.piece_bytes_max) {
      return absl::InvalidArgumentError(absl::StrCat(Describe(stream), ": cannot append, limit is ",
                                                     options_.piece_bytes_max, " bytes a piece, it has ",
                                                     piece.bytes.size()));
    }
  }
  absl::MutexLock lock(&mu_);
  URSA_ASSIGN_OR_RETURN(StreamState state, ReadState(stream));
  URSA_ASSIGN_OR_RETURN(uint64_t arrival, LastArrival(stream.trial.experiment));
  WriteBatch batch;
  URSA_RETURN_IF_ERROR(Cut(stream, &state, &batch));
  bool is_new = false;
  for (const LogPiece& piece : pieces) {
    if (piece.attempt < state.attempt) continue;
    if (piece.attempt > state.attempt) {
      state.attempt = piece.attempt;
      state.next_offset = 0;
    }
    LogPiece rest = piece;
    rest.bytes.clear();
    std::string_view bytes = piece.bytes;
    if (rest.offset < state.next_offset) {
      bytes.remove_prefix(std::min<uint64_t>(bytes.size(), state.next_offset - rest.offset));
      rest.offset = state.next_offset;
    }
    if (bytes.empty()) continue;
    state.next_offset = rest.offset + bytes.size();
    state.last_arrival = ++arrival;
    if (state.tail_begin == 0 && state.head_bytes + bytes.size() > options_.head_bytes) state.tail_begin = arrival;
    (state.tail_begin == 0 ? state.head_bytes : state.tail_bytes) += bytes.size();
    batch.Put(LogEntryKey(stream, arrival), EncodeEntry(EntryKind::kPiece, rest, 0, bytes));
    is_new = true;
  }
  if (!is_new) return absl::OkStatus();
  batch.Put(LogStreamStateKey(stream), state.Encode());
  URSA_RETURN_IF_ERROR(failpoints::logs_before_append.Pass());
  URSA_RETURN_IF_ERROR(store_->Write(batch, durability));
  failpoints::logs_appended.Pass();
  last_arrival_[stream.trial.experiment] = arrival;
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> LogStore::NextOffset(LogStreamKey stream, uint32_t attempt) const {
  URSA_ASSIGN_OR_RETURN(const StreamState state, ReadState(stream));
  if (attempt < state.attempt) {
    return absl::FailedPreconditionError(absl::StrCat(Describe(stream), ": cannot append to attempt ", attempt,
                                                      ", attempt ", state.attempt, " has begun"));
  }
  return attempt == state.attempt ? state.next_offset : 0;
}

absl::StatusOr<LogStore::Page> LogStore::Read(const Query& query) const {
  const uint64_t bytes_max = std::min(query.bytes_max, options_.read_bytes_max);
  const std::unique_ptr<KvReader> view = store_->Snapshot();
  // The streams that have something new, merged by arrival number: the next entry of each is in the queue.
  using Next = std::pair<uint64_t, KvIterator*>;
  std::priority_queue<Next, std::vector<Next>, std::greater<Next>> queue;
  std::vector<std::unique_ptr<KvIterator>> iterators;
  const auto push = [&queue](KvIterator* iterator) -> absl::Status {
    if (!iterator->Valid()) return iterator->status();
    const std::optional<LogEntryName> name = ParseLogEntryKey(iterator->key());
    if (!name.has_value()) return absl::DataLossError("log entry: its key is damaged");
    queue.push({name->arrival, iterator});
    return absl::OkStatus();
  };
  URSA_RETURN_IF_ERROR(
      VisitStreams(*view, query.experiment, [&](LogStreamKey stream, const StreamState& state) -> absl::Status {
        if (query.trial.value_or(stream.trial.trial) != stream.trial.trial) return absl::OkStatus();
        if (query.rank.value_or(stream.rank) != stream.rank) return absl::OkStatus();
        if (state.last_arrival <= query.after_arrival) return absl::OkStatus();
        iterators.push_back(view->NewIterator(
            {LogEntryKey(stream, query.after_arrival + 1), LogEntryKey(stream, state.last_arrival) + '\0'}));
        return push(iterators.back().get());
      }));

  Page page;
  page.last_arrival = query.after_arrival;
  uint64_t num_bytes = 0;
  while (!queue.empty() && num_bytes < bytes_max) {
    KvIterator* const iterator = queue.top().second;
    queue.pop();
    URSA_ASSIGN_OR_RETURN(Entry entry, DecodeEntry(iterator->key(), iterator->value()));
    num_bytes += entry.piece.bytes.size();
    page.last_arrival = entry.arrival;
    page.entries.push_back(std::move(entry));
    iterator->Next();
    URSA_RETURN_IF_ERROR(push(iterator));
  }
  page.more = !queue.empty();
  return page;
}

absl::Status LogStore::DeleteExperiment(uint64_t experiment) {
  WriteBatch batch;
  for (const KeyPrefix prefix : {KeyPrefix::kLogEntry, KeyPrefix::kLogStream}) {
    const KeyRange range = ExperimentRange(prefix, experiment);
    batch.DeleteRange(range.begin, range.end);
  }
  absl::MutexLock lock(&mu_);
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kSynced));
  last_arrival_.erase(experiment);
  return absl::OkStatus();
}

}  // namespace ursa
