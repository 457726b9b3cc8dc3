#include "storage/log_store.h"

#include <algorithm>
#include <memory>
#include <queue>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/coding.h"
#include "storage/failpoints.h"

namespace ursa {
namespace {

// On disk, never renumber. Marks: kCut, of a log over its limit; kLeftOut, by the sender; kRetained, by retention.
enum class EntryKind : uint8_t { kPiece = 0, kCut = 1, kLeftOut = 2, kRetained = 3 };

// What a mark of the sender counts for in the limits, so that these bound marks too.
constexpr uint64_t kLeftOutBytes = 64;
// A state with the fields of retention; kValueFormat: without.
constexpr uint8_t kStateFormatRetention = 2;

std::string Describe(LogStreamKey stream) {
  return absl::StrCat("log of e", stream.trial.experiment, " trial ", stream.trial.trial, " rank ", stream.rank);
}

// "812 bytes", "12.5 MiB".
std::string BytesText(uint64_t num_bytes) {
  if (num_bytes < 10'000) return absl::StrCat(num_bytes, " bytes");
  if (num_bytes < 10'000'000) return absl::StrFormat("%.1f KiB", static_cast<double>(num_bytes) / 1024);
  return absl::StrFormat("%.1f MiB", static_cast<double>(num_bytes) / (1 << 20));
}

std::string MarkText(EntryKind kind, uint32_t rank, uint64_t num_bytes) {
  const std::string bytes = BytesText(num_bytes);
  switch (kind) {
    case EntryKind::kPiece:
      break;
    case EntryKind::kCut:
      return absl::StrCat("[", bytes, " of rank ", rank, " were dropped here: its log is over its limit]\n");
    case EntryKind::kLeftOut:
      return absl::StrCat("[", bytes, " of rank ", rank,
                          " are left out here: they were printed faster than they can be kept]\n");
    case EntryKind::kRetained:
      return absl::StrCat("[", bytes, " of rank ", rank, " before this were deleted by the retention policy]\n");
  }
  return "";
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

struct StoredEntry {
  EntryKind kind = EntryKind::kPiece;
  LogStore::Entry entry;

  // What it counts for in the limits.
  uint64_t num_bytes() const { return kind == EntryKind::kLeftOut ? kLeftOutBytes : entry.piece.bytes.size(); }
  bool is_mark_of_store() const { return kind == EntryKind::kCut || kind == EntryKind::kRetained; }
};

absl::StatusOr<StoredEntry> DecodeEntry(std::string_view key, std::string_view value) {
  const std::optional<LogEntryName> name = ParseLogEntryKey(key);
  if (!name.has_value()) return absl::DataLossError("log entry: its key is damaged");
  Decoder decoder(value);
  const uint8_t format = decoder.U8();
  const uint8_t kind = decoder.U8();
  StoredEntry stored;
  stored.kind = static_cast<EntryKind>(kind);
  LogStore::Entry& entry = stored.entry;
  entry.arrival = name->arrival;
  entry.stream = name->stream;
  entry.piece.attempt = decoder.U32();
  entry.piece.offset = decoder.U64();
  entry.piece.time = absl::FromUnixMicros(static_cast<int64_t>(decoder.U64()));
  entry.num_lost_bytes = decoder.U64();
  entry.piece.bytes = std::string(decoder.Rest());
  if (format != kValueFormat || kind > static_cast<uint8_t>(EntryKind::kRetained) || !decoder.Done()) {
    return absl::DataLossError(
        absl::StrCat(Describe(name->stream), ": the stored form of entry ", name->arrival, " is damaged"));
  }
  return stored;
}

}  // namespace

uint64_t FairLogBytes(std::vector<uint64_t> sizes, uint64_t total) {
  std::sort(sizes.begin(), sizes.end());
  uint64_t left = total;
  for (size_t i = 0; i < sizes.size(); ++i) {
    const uint64_t level = left / (sizes.size() - i);
    if (sizes[i] > level) return level;
    left -= sizes[i];
  }
  return sizes.empty() ? total : sizes.back();
}

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
  uint64_t retained_bytes = 0;  // deleted from the front by retention
  int64_t oldest_micros = 0;    // no piece is older; 0: not known

  // state := format:u8 attempt:u32 next_offset:u64 last_arrival:u64 head_bytes:u64 tail_bytes:u64 tail_begin:u64
  //          cut_arrival:u64 lost_bytes:u64 [retained_bytes:u64 oldest_micros:u64]
  std::string Encode() const {
    std::string value;
    AppendU8(&value, kStateFormatRetention);
    AppendU32(&value, attempt);
    for (const uint64_t field : {next_offset, last_arrival, head_bytes, tail_bytes, tail_begin, cut_arrival, lost_bytes,
                                 retained_bytes, static_cast<uint64_t>(oldest_micros)}) {
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
    if (format == kStateFormatRetention) {
      state.retained_bytes = decoder.U64();
      state.oldest_micros = static_cast<int64_t>(decoder.U64());
    }
    if ((format != kValueFormat && format != kStateFormatRetention) || !decoder.Done()) {
      return absl::DataLossError(absl::StrCat(Describe(stream), ": its stored state is damaged"));
    }
    return state;
  }
};

absl::Status LogStore::Options::Validate() const {
  if (piece_bytes_max < 1 || tail_bytes < piece_bytes_max || read_bytes_max < 1 || retain_bytes_max < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("log store: must be piece_bytes_max >= 1, tail_bytes >= piece_bytes_max, read_bytes_max >= 1, "
                     "retain_bytes_max >= 1; are ",
                     piece_bytes_max, ", ", tail_bytes, ", ", read_bytes_max, ", ", retain_bytes_max));
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
    URSA_ASSIGN_OR_RETURN(StoredEntry stored, DecodeEntry(iterator->key(), iterator->value()));
    state->tail_bytes -= std::min(state->tail_bytes, stored.num_bytes());
    state->lost_bytes += stored.entry.piece.bytes.size() + stored.entry.num_lost_bytes;
    last_gone = std::move(stored.entry);
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
    if (piece.num_left_out_bytes > 0 && !piece.bytes.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          Describe(stream), ": cannot append, a piece that was left out has ", piece.bytes.size(), " bytes"));
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
      const uint64_t known = state.next_offset - rest.offset;
      bytes.remove_prefix(std::min<uint64_t>(bytes.size(), known));
      rest.num_left_out_bytes -= std::min(rest.num_left_out_bytes, known);
      rest.offset = state.next_offset;
    }
    const bool is_left_out = rest.num_left_out_bytes > 0;
    if (bytes.empty() && !is_left_out) continue;
    state.next_offset = rest.offset + bytes.size() + rest.num_left_out_bytes;
    if (state.last_arrival == 0) state.oldest_micros = absl::ToUnixMicros(rest.time);
    state.last_arrival = ++arrival;
    const uint64_t num_bytes = is_left_out ? kLeftOutBytes : bytes.size();
    if (state.tail_begin == 0 && state.head_bytes + num_bytes > options_.head_bytes) state.tail_begin = arrival;
    (state.tail_begin == 0 ? state.head_bytes : state.tail_bytes) += num_bytes;
    batch.Put(LogEntryKey(stream, arrival),
              EncodeEntry(is_left_out ? EntryKind::kLeftOut : EntryKind::kPiece, rest, rest.num_left_out_bytes, bytes));
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
    URSA_ASSIGN_OR_RETURN(StoredEntry stored, DecodeEntry(iterator->key(), iterator->value()));
    Entry& entry = stored.entry;
    if (stored.kind != EntryKind::kPiece) {
      entry.piece.bytes = MarkText(stored.kind, entry.stream.rank, entry.num_lost_bytes);
    }
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

absl::Status LogStore::NextTrial(KvIterator* iterator, StreamStates* states) {
  states->clear();
  for (; iterator->Valid(); iterator->Next()) {
    const std::optional<LogStreamKey> stream = ParseLogStreamStateKey(iterator->key());
    if (!stream.has_value()) return absl::DataLossError("log stream: its key is damaged");
    if (!states->empty() && !(states->front().first.trial == stream->trial)) break;
    URSA_ASSIGN_OR_RETURN(const StreamState state, StreamState::Decode(*stream, iterator->value()));
    states->emplace_back(*stream, state);
  }
  return iterator->status();
}

absl::StatusOr<LogStore::Retained> LogStore::Retain(const LogRetention& retention, TrialKey begin, int trials_max) {
  Retained retained;
  const std::unique_ptr<KvReader> view = store_->Snapshot();
  const std::unique_ptr<KvIterator> iterator =
      view->NewIterator({LogStreamStateKey({begin, 0}), PrefixRange(PrefixKey(KeyPrefix::kLogStream)).end});
  const int64_t since_micros = absl::ToUnixMicros(retention.keep_since);
  StreamStates states;
  for (int i = 0; i < trials_max; ++i) {
    URSA_RETURN_IF_ERROR(NextTrial(iterator.get(), &states));
    if (states.empty()) return retained;
    std::vector<uint64_t> sizes;
    for (const auto& [stream, state] : states) sizes.push_back(state.head_bytes + state.tail_bytes);
    const uint64_t bytes_max = FairLogBytes(sizes, retention.trial_bytes_max);
    for (size_t k = 0; k < states.size(); ++k) {
      if (sizes[k] == 0 || (sizes[k] <= bytes_max && states[k].second.oldest_micros >= since_micros)) continue;
      for (uint64_t deleted = 1; deleted > 0;) {
        URSA_ASSIGN_OR_RETURN(deleted, RetainSome(states[k].first, bytes_max, retention.keep_since));
        retained.num_deleted_bytes += deleted;
      }
    }
  }
  if (iterator->Valid()) {
    if (const auto stream = ParseLogStreamStateKey(iterator->key())) retained.next = stream->trial;
  }
  return retained;
}

absl::StatusOr<uint64_t> LogStore::RetainSome(LogStreamKey stream, uint64_t bytes_max, absl::Time keep_since) {
  absl::MutexLock lock(&mu_);
  URSA_ASSIGN_OR_RETURN(StreamState state, ReadState(stream));
  const int64_t oldest_known = state.oldest_micros;
  // The new mark takes the place of the last entry that goes; older marks go with it once something after them does.
  const std::unique_ptr<KvIterator> iterator =
      store_->NewIterator({LogEntryKey(stream, 0), LogEntryKey(stream, state.last_arrival) + '\0'});
  uint64_t num_deleted = 0;
  Entry last_gone;
  for (; iterator->Valid(); iterator->Next()) {
    URSA_ASSIGN_OR_RETURN(StoredEntry stored, DecodeEntry(iterator->key(), iterator->value()));
    if (stored.is_mark_of_store()) continue;
    state.oldest_micros = absl::ToUnixMicros(stored.entry.piece.time);
    const bool is_over = state.head_bytes + state.tail_bytes > bytes_max;
    if ((!is_over && stored.entry.piece.time >= keep_since) || num_deleted >= options_.retain_bytes_max) break;
    const bool is_head = state.tail_begin == 0 || stored.entry.arrival < state.tail_begin;
    uint64_t& part_bytes = is_head ? state.head_bytes : state.tail_bytes;
    part_bytes -= std::min(part_bytes, stored.num_bytes());
    num_deleted += stored.num_bytes();
    state.retained_bytes += stored.entry.piece.bytes.size() + stored.entry.num_lost_bytes;
    last_gone = std::move(stored.entry);
  }
  URSA_RETURN_IF_ERROR(iterator->status());
  WriteBatch batch;
  if (num_deleted > 0) {
    if (state.cut_arrival != 0 && state.cut_arrival < last_gone.arrival) {
      state.retained_bytes += std::exchange(state.lost_bytes, 0);
      state.cut_arrival = 0;
    }
    if (state.tail_begin != 0) state.tail_begin = std::max(state.tail_begin, last_gone.arrival + 1);
    batch.DeleteRange(LogEntryKey(stream, 0), LogEntryKey(stream, last_gone.arrival));
    batch.Put(LogEntryKey(stream, last_gone.arrival),
              EncodeEntry(EntryKind::kRetained, last_gone.piece, state.retained_bytes, ""));
  }
  if (num_deleted == 0 && state.oldest_micros == oldest_known) return 0;
  batch.Put(LogStreamStateKey(stream), state.Encode());
  URSA_RETURN_IF_ERROR(store_->Write(batch, Durability::kBuffered));
  return num_deleted;
}

}  // namespace ursa
