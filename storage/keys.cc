#include "storage/keys.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/coding.h"

namespace ursa {
namespace {

constexpr size_t kHashBytes = kDigestHexLength / 2;
// Says whose store it is, should a stray RocksDB folder be opened.
constexpr std::string_view kFormatMagic = "ursa";

absl::string_view Absl(std::string_view text) { return {text.data(), text.size()}; }

std::string Quoted(std::string_view text) { return absl::StrCat("\"", absl::CEscape(Absl(text)), "\""); }

void AppendHash(std::string* out, std::string_view hash_hex) {
  URSA_CHECK(IsDigestHex(hash_hex)) << Quoted(hash_hex);
  out->append(absl::HexStringToBytes(Absl(hash_hex)));
}

std::string HashKey(KeyPrefix prefix, std::string_view hash_hex) {
  std::string key = PrefixKey(prefix);
  AppendHash(&key, hash_hex);
  return key;
}

void AppendTrial(std::string* out, TrialKey trial) {
  AppendU64(out, trial.experiment);
  AppendU32(out, trial.trial);
}

TrialKey ReadTrial(Decoder* decoder) {
  TrialKey trial;
  trial.experiment = decoder->U64();
  trial.trial = decoder->U32();
  return trial;
}

std::string StreamPrefix(KeyPrefix prefix, LogStreamKey stream) {
  std::string key = PrefixKey(prefix);
  AppendTrial(&key, stream.trial);
  AppendU32(&key, stream.rank);
  return key;
}

// Positioned after the prefix byte; a key of another prefix gives a decoder that is not ok().
Decoder AfterPrefix(KeyPrefix prefix, std::string_view key) {
  Decoder decoder(key);
  if (decoder.U8() != static_cast<uint8_t>(prefix)) decoder.Bytes(key.size() + 1);
  return decoder;
}

}  // namespace

std::string PrefixKey(KeyPrefix prefix) { return std::string(1, static_cast<char>(prefix)); }

absl::Status CheckRecordName(std::string_view table, std::string_view id) {
  const bool is_word = table.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
  if (table.empty() || table.size() > kRecordTableBytesMax || !is_word) {
    return absl::InvalidArgumentError(
        absl::StrCat("record table ", Quoted(table), ": must be 1 to ", kRecordTableBytesMax, " of [a-z0-9_]"));
  }
  if (id.empty() || id.size() > kRecordIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("record id in table ", Absl(table), ": must have 1 to ",
                                                   kRecordIdBytesMax, " bytes, has ", id.size()));
  }
  return absl::OkStatus();
}

std::string RecordTablePrefix(std::string_view table) {
  std::string key = PrefixKey(KeyPrefix::kRecord);
  key.append(table);
  key.push_back('\0');
  return key;
}

std::string RecordKey(std::string_view table, std::string_view id) {
  std::string key = RecordTablePrefix(table);
  key.append(id);
  return key;
}

std::optional<RecordName> ParseRecordKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kRecord, key);
  RecordName name;
  name.table = decoder.ZeroTerminated();
  name.id = decoder.Rest();
  if (!decoder.Done() || !CheckRecordName(name.table, name.id).ok()) return std::nullopt;
  return name;
}

std::string EventKey(uint64_t sequence) {
  std::string key = PrefixKey(KeyPrefix::kEvent);
  AppendU64(&key, sequence);
  return key;
}

std::optional<uint64_t> ParseEventKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kEvent, key);
  const uint64_t sequence = decoder.U64();
  if (!decoder.Done()) return std::nullopt;
  return sequence;
}

std::string BlobKey(std::string_view hash_hex) { return HashKey(KeyPrefix::kBlob, hash_hex); }

std::string UploadKey(std::string_view hash_hex) { return HashKey(KeyPrefix::kUpload, hash_hex); }

std::optional<std::string> ParseHashKey(KeyPrefix prefix, std::string_view key) {
  Decoder decoder = AfterPrefix(prefix, key);
  const std::string_view hash = decoder.Bytes(kHashBytes);
  if (!decoder.Done()) return std::nullopt;
  return absl::BytesToHexString(Absl(hash));
}

std::string ChunkKey(uint64_t place, uint32_t chunk) {
  std::string key = PrefixKey(KeyPrefix::kChunk);
  AppendU64(&key, place);
  AppendU32(&key, chunk);
  return key;
}

KeyRange ChunkRange(uint64_t place) {
  std::string prefix = PrefixKey(KeyPrefix::kChunk);
  AppendU64(&prefix, place);
  return PrefixRange(prefix);
}

std::optional<ChunkName> ParseChunkKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kChunk, key);
  ChunkName name;
  name.place = decoder.U64();
  name.chunk = decoder.U32();
  if (!decoder.Done()) return std::nullopt;
  return name;
}

absl::Status CheckMetricName(std::string_view name) {
  if (name.empty() || name.size() > kMetricNameBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("metric name ", Quoted(name.substr(0, kMetricNameBytesMax)),
                                                   ": must have 1 to ", kMetricNameBytesMax, " bytes, has ",
                                                   name.size()));
  }
  if (name.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat("metric name ", Quoted(name), ": must not contain a zero byte"));
  }
  return absl::OkStatus();
}

std::string MetricTrialPrefix(KeyPrefix prefix, TrialKey trial) {
  std::string key = PrefixKey(prefix);
  AppendTrial(&key, trial);
  return key;
}

std::string MetricNamePrefix(KeyPrefix prefix, TrialKey trial, std::string_view name) {
  std::string key = MetricTrialPrefix(prefix, trial);
  key.append(name);
  key.push_back('\0');
  return key;
}

std::string MetricKey(TrialKey trial, std::string_view name, uint64_t step) {
  std::string key = MetricNamePrefix(KeyPrefix::kMetric, trial, name);
  AppendU64(&key, step);
  return key;
}

std::optional<MetricKeyParts> ParseMetricKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kMetric, key);
  MetricKeyParts parts;
  parts.trial = ReadTrial(&decoder);
  parts.name = decoder.ZeroTerminated();
  parts.step = decoder.U64();
  if (!decoder.Done()) return std::nullopt;
  return parts;
}

std::string MetricBlockKey(TrialKey trial, std::string_view name, uint8_t level, uint64_t index) {
  std::string key = MetricNamePrefix(KeyPrefix::kMetricBlock, trial, name);
  AppendU8(&key, level);
  AppendU64(&key, index);
  return key;
}

KeyRange MetricLevelRange(TrialKey trial, std::string_view name, uint8_t level) {
  std::string key = MetricNamePrefix(KeyPrefix::kMetricBlock, trial, name);
  AppendU8(&key, level);
  return PrefixRange(key);
}

std::optional<MetricBlockKeyParts> ParseMetricBlockKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kMetricBlock, key);
  MetricBlockKeyParts parts;
  parts.trial = ReadTrial(&decoder);
  parts.name = decoder.ZeroTerminated();
  parts.level = decoder.U8();
  parts.index = decoder.U64();
  if (!decoder.Done()) return std::nullopt;
  return parts;
}

std::string LogEntryKey(LogStreamKey stream, uint64_t arrival) {
  std::string key = StreamPrefix(KeyPrefix::kLogEntry, stream);
  AppendU64(&key, arrival);
  return key;
}

std::string LogStreamStateKey(LogStreamKey stream) { return StreamPrefix(KeyPrefix::kLogStream, stream); }

std::optional<LogEntryName> ParseLogEntryKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kLogEntry, key);
  LogEntryName name;
  name.stream.trial = ReadTrial(&decoder);
  name.stream.rank = decoder.U32();
  name.arrival = decoder.U64();
  if (!decoder.Done()) return std::nullopt;
  return name;
}

std::optional<LogStreamKey> ParseLogStreamStateKey(std::string_view key) {
  Decoder decoder = AfterPrefix(KeyPrefix::kLogStream, key);
  LogStreamKey stream;
  stream.trial = ReadTrial(&decoder);
  stream.rank = decoder.U32();
  if (!decoder.Done()) return std::nullopt;
  return stream;
}

KeyRange ExperimentRange(KeyPrefix prefix, uint64_t experiment) {
  std::string key = PrefixKey(prefix);
  AppendU64(&key, experiment);
  return PrefixRange(key);
}

std::string PredictionKey(std::string_view artifact_hex, std::string_view transforms_hex,
                          std::string_view example_hex) {
  std::string key = PredictionSourcePrefix(artifact_hex, transforms_hex);
  AppendHash(&key, example_hex);
  return key;
}

std::string PredictionSourcePrefix(std::string_view artifact_hex, std::string_view transforms_hex) {
  std::string key = HashKey(KeyPrefix::kPrediction, artifact_hex);
  AppendHash(&key, transforms_hex);
  return key;
}

absl::Status CheckStoreFormat(KvStore* store) {
  const std::string key = PrefixKey(KeyPrefix::kFormat);
  URSA_ASSIGN_OR_RETURN(const std::optional<std::string> stored, store->Get(key));
  if (!stored.has_value()) {
    URSA_ASSIGN_OR_RETURN(const std::optional<std::string> other_key, store->LastKey({}));
    if (other_key.has_value()) {
      return absl::FailedPreconditionError("data folder: cannot open, it holds data but no format record of Ursa");
    }
    std::string record(kFormatMagic);
    AppendU32(&record, kStoreFormatVersion);
    WriteBatch batch;
    batch.Put(key, std::move(record));
    return store->Write(batch, Durability::kSynced);
  }
  Decoder decoder(*stored);
  const std::string_view magic = decoder.Bytes(kFormatMagic.size());
  const uint32_t version = decoder.U32();
  if (!decoder.ok() || magic != kFormatMagic || version == 0) {
    return absl::DataLossError("data folder: cannot open, its format record is damaged");
  }
  if (version > kStoreFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat("data folder: cannot open, it was written in format ", version,
                                                      ", this program reads formats up to ", kStoreFormatVersion,
                                                      " (hint: use the newer version of ursa)"));
  }
  return absl::OkStatus();
}

}  // namespace ursa
