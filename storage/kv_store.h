// The seam to durable bytes: an ordered map from keys to values with atomic batches. The real one is RocksKvStore, the
// fake MemoryKvStore; both pass kv_store_conformance.
#ifndef URSA_STORAGE_KV_STORE_H_
#define URSA_STORAGE_KV_STORE_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ursa {

// The keys k with begin <= k < end, in byte order. An empty `end` means "to the last key of the store".
struct KeyRange {
  std::string begin;
  std::string end;
};

// All keys that start with `prefix`; the whole store for an empty prefix.
KeyRange PrefixRange(std::string_view prefix);

// What must survive a write. kSynced: on the disk when the call returns, with every write before it. kBuffered:
// survives the death of the process, and after a power failure survives only if a later synced write did; never out of
// order.
enum class Durability { kSynced, kBuffered };

// Puts, deletes and range deletes that take effect together, in the order they were added. Not thread-safe.
class WriteBatch {
 public:
  enum class Kind { kPut, kDelete, kDeleteRange };
  // For kPut `second` is the value, for kDeleteRange the end of the range (exclusive, never empty).
  struct Operation {
    Kind kind;
    std::string first;
    std::string second;
  };

  void Put(std::string key, std::string value);
  void Delete(std::string key);
  // Deletes begin <= k < end; nothing if end <= begin.
  void DeleteRange(std::string begin, std::string end);
  // Adds all of `other` after what is here.
  void Append(WriteBatch other);

  bool empty() const { return operations_.empty(); }
  // Bytes of all keys and values, for limits on batches.
  size_t num_bytes() const { return num_bytes_; }
  const std::vector<Operation>& operations() const { return operations_; }

 private:
  void Add(Kind kind, std::string first, std::string second);

  std::vector<Operation> operations_;
  size_t num_bytes_ = 0;
};

// Walks a range in key order over the view that existed when the iterator was made; later writes are not seen. Belongs
// to the caller, must not outlive its store. Not thread-safe.
class KvIterator {
 public:
  virtual ~KvIterator() = default;

  // Whether key() and value() may be called. False past the end, and after an error: look at status() then.
  virtual bool Valid() const = 0;
  // To the next key. Requires Valid().
  virtual void Next() = 0;
  // To the first key of the range that is >= `key`.
  virtual void Seek(std::string_view key) = 0;
  // Good until the next call of a non-const method.
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  // OK unless reading failed: DATA_LOSS (bytes on disk are wrong) or UNKNOWN (the disk's error).
  virtual absl::Status status() const = 0;
};

// A view that can be read: the store as it is now, or a snapshot. Thread-safe.
// Errors of all reads: DATA_LOSS (bytes on disk are wrong), UNKNOWN (the disk's error). A missing key is no error.
class KvReader {
 public:
  virtual ~KvReader() = default;

  virtual absl::StatusOr<std::optional<std::string>> Get(std::string_view key) const = 0;

  // One value or nothing per key, in the order of `keys`. All from the same view. Cheaper when `keys` are sorted.
  virtual absl::StatusOr<std::vector<std::optional<std::string>>> MultiGet(
      const std::vector<std::string>& keys) const = 0;

  // Stands at the first key of `range`. Never null.
  virtual std::unique_ptr<KvIterator> NewIterator(const KeyRange& range) const = 0;

  // The same for a walk over much that is read this once: it does not push out of memory what others read often.
  virtual std::unique_ptr<KvIterator> NewScan(const KeyRange& range) const { return NewIterator(range); }

  // The greatest key of `range`, or nothing if it is empty.
  virtual absl::StatusOr<std::optional<std::string>> LastKey(const KeyRange& range) const = 0;
};

// A bulk load: keys and values in strictly ascending key order, invisible until Commit(), then visible all at once and
// durable. Dropping it without Commit() leaves nothing. Belongs to the caller, must not outlive its store. Not
// thread-safe.
class SortedLoad {
 public:
  virtual ~SortedLoad() = default;

  // INVALID_ARGUMENT if `key` is empty or not greater than the one before; RESOURCE_EXHAUSTED if the disk is full.
  virtual absl::Status Add(std::string_view key, std::string_view value) = 0;

  // Makes all of it visible, over older values of the same keys. With nothing added it does nothing. May be called
  // once. On an error nothing is visible. Errors as of KvStore::Write.
  virtual absl::Status Commit() = 0;
};

// An ordered, durable map. Thread-safe. Reading as a KvReader gives the newest view.
class KvStore : public KvReader {
 public:
  // Applies all of `batch` or nothing. Keys are not empty. When it returns, the batch is visible to every later read,
  // and as durable as asked. Errors: RESOURCE_EXHAUSTED (the disk is full), UNKNOWN (the disk's error), DATA_LOSS.
  // After an error of a synced write it is not known whether the batch is on the disk: read again only after a reopen.
  virtual absl::Status Write(const WriteBatch& batch, Durability durability) = 0;

  // For loads of many megabytes: no log is written, the data goes to the disk once. Never null.
  virtual std::unique_ptr<SortedLoad> NewSortedLoad() = 0;

  // The view of now, unchanged by later writes. Must not outlive the store. Never null.
  virtual std::unique_ptr<KvReader> Snapshot() const = 0;
};

}  // namespace ursa

#endif  // URSA_STORAGE_KV_STORE_H_
