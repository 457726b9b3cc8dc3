// Every key in the store, as a grammar. Keys compare as bytes; all numbers are big-endian, so byte order is their
// order.
//
//   key        := 0x01                                         format record
//               | 'r' table 0x00 id                            record of an entity (record_store.h)
//               | 'e' sequence:u64                             event: audit and history (record_store.h)
//               | 'b' hash:32                                  blob: size and place (blob_store.h)
//               | 'c' place:u64 chunk:u32                      one chunk of a blob or of an upload
//               | 'u' hash:32                                  unfinished upload
//               | 'm' experiment:u64 trial:u32 name 0x00 step:u64              metric point not in a block
//               (metric_log.h) | 'k' experiment:u64 trial:u32 name 0x00 level:u8 index:u64    block of metric points
//               (metric_block.h) | 'l' experiment:u64 trial:u32 rank:u32 arrival:u64            log entry (log_store.h)
//               | 's' experiment:u64 trial:u32 rank:u32        what has arrived of a rank's log (log_store.h)
//               | 'p' artifact:32 transforms:32 example:32     prediction (prediction_ledger.h)
//   table      := 1 to 32 of [a-z0-9_]                         name of an entity table, the caller's
//   id         := 1 to 512 bytes                               the caller's; ends the key, so any byte may stand in it
//   name       := 1 to 128 bytes without 0x00                  metric name
//   hash, artifact, transforms, example := the 32 bytes of a SHA-256
//
// Values start with a format byte (kValueFormat) of their own, except chunks, which are bare bytes. Request ids,
// tokens, aliases and all else that State knows are records in tables that the coordinator names.
//
// On disk: never change the meaning of a prefix, never give one out again. Another layout of a table takes a new
// prefix, or a new value format that is read beside the old one.
#ifndef URSA_STORAGE_KEYS_H_
#define URSA_STORAGE_KEYS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/kv_store.h"

namespace ursa {

// On disk, never renumber.
enum class KeyPrefix : char {
  kFormat = 0x01,
  kRecord = 'r',
  kEvent = 'e',
  kBlob = 'b',
  kChunk = 'c',
  kUpload = 'u',
  kMetric = 'm',
  kMetricBlock = 'k',
  kLogEntry = 'l',
  kLogStream = 's',
  kPrediction = 'p',
};

// The first byte of every value but chunks: version of its layout.
inline constexpr uint8_t kValueFormat = 1;

inline constexpr size_t kRecordIdBytesMax = 512;
inline constexpr size_t kMetricNameBytesMax = 128;
inline constexpr size_t kRecordTableBytesMax = 32;

std::string PrefixKey(KeyPrefix prefix);

// Records. CheckRecordName says what is wrong with a table name or id: INVALID_ARGUMENT with limit and actual.
absl::Status CheckRecordName(std::string_view table, std::string_view id);
std::string RecordTablePrefix(std::string_view table);
std::string RecordKey(std::string_view table, std::string_view id);
struct RecordName {
  std::string_view table;  // both point into the key
  std::string_view id;
};
std::optional<RecordName> ParseRecordKey(std::string_view key);

std::string EventKey(uint64_t sequence);
std::optional<uint64_t> ParseEventKey(std::string_view key);

// `hash_hex` is 64 lower-case hex digits (checked by IsDigestHex before).
std::string BlobKey(std::string_view hash_hex);
std::string UploadKey(std::string_view hash_hex);
// The hash of a blob or upload key as hex.
std::optional<std::string> ParseHashKey(KeyPrefix prefix, std::string_view key);

std::string ChunkKey(uint64_t place, uint32_t chunk);
KeyRange ChunkRange(uint64_t place);
struct ChunkName {
  uint64_t place;
  uint32_t chunk;
};
std::optional<ChunkName> ParseChunkKey(std::string_view key);

// A trial of an experiment; an experiment without a search has trial 0 or 1 alone, as the coordinator numbers them.
struct TrialKey {
  uint64_t experiment = 0;
  uint32_t trial = 0;
  friend bool operator==(TrialKey a, TrialKey b) { return a.experiment == b.experiment && a.trial == b.trial; }
  friend bool operator<(TrialKey a, TrialKey b) {
    return a.experiment != b.experiment ? a.experiment < b.experiment : a.trial < b.trial;
  }
};

absl::Status CheckMetricName(std::string_view name);
std::string MetricKey(TrialKey trial, std::string_view name, uint64_t step);
struct MetricKeyParts {
  TrialKey trial;
  std::string_view name;  // points into the key
  uint64_t step;
};
std::optional<MetricKeyParts> ParseMetricKey(std::string_view key);

// Blocks: `prefix` is kMetric or kMetricBlock in what both have.
std::string MetricTrialPrefix(KeyPrefix prefix, TrialKey trial);
std::string MetricNamePrefix(KeyPrefix prefix, TrialKey trial, std::string_view name);
std::string MetricBlockKey(TrialKey trial, std::string_view name, uint8_t level, uint64_t index);
// All blocks of one level.
KeyRange MetricLevelRange(TrialKey trial, std::string_view name, uint8_t level);
struct MetricBlockKeyParts {
  TrialKey trial;
  std::string_view name;  // points into the key
  uint8_t level;
  uint64_t index;
};
std::optional<MetricBlockKeyParts> ParseMetricBlockKey(std::string_view key);

// One rank's log.
struct LogStreamKey {
  TrialKey trial;
  uint32_t rank = 0;
  friend bool operator==(LogStreamKey a, LogStreamKey b) { return a.trial == b.trial && a.rank == b.rank; }
  friend bool operator<(LogStreamKey a, LogStreamKey b) {
    return a.trial == b.trial ? a.rank < b.rank : a.trial < b.trial;
  }
};

std::string LogEntryKey(LogStreamKey stream, uint64_t arrival);
std::string LogStreamStateKey(LogStreamKey stream);
struct LogEntryName {
  LogStreamKey stream;
  uint64_t arrival;
};
std::optional<LogEntryName> ParseLogEntryKey(std::string_view key);
std::optional<LogStreamKey> ParseLogStreamStateKey(std::string_view key);
// All of `prefix` (kMetric, kMetricBlock, kLogEntry or kLogStream) that belongs to an experiment.
KeyRange ExperimentRange(KeyPrefix prefix, uint64_t experiment);

// All are 64 lower-case hex digits.
std::string PredictionSourcePrefix(std::string_view artifact_hex, std::string_view transforms_hex);
std::string PredictionKey(std::string_view artifact_hex, std::string_view transforms_hex, std::string_view example_hex);

// Writes the format record into a store that has none and nothing else, or checks the one that is there. To be called
// once after opening, before anything else is read. Errors: FAILED_PRECONDITION (written by a newer Ursa, naming both
// versions, or a store that is not Ursa's), DATA_LOSS (the record is damaged), those of KvStore.
inline constexpr uint32_t kStoreFormatVersion = 1;
absl::Status CheckStoreFormat(KvStore* store);

}  // namespace ursa

#endif  // URSA_STORAGE_KEYS_H_
