// Entities and events: what State is made from at start, and what Commit writes.
#ifndef URSA_STORAGE_RECORD_STORE_H_
#define URSA_STORAGE_RECORD_STORE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/keys.h"
#include "storage/kv_store.h"

namespace ursa {

// Puts and deletes of whole records, and new events, that are committed together. Later operations win. Table names and
// ids as the grammar of keys.h says; a wrong one is our bug and ends the process. `Message` is a generated protobuf
// class; a serialized message and the same bytes given raw are stored alike. Not thread-safe.
class RecordBatch {
 public:
  template <typename Message>
  void Put(std::string_view table, std::string_view id, const Message& message) {
    PutBytes(table, id, message.SerializeAsString());
  }
  void PutBytes(std::string_view table, std::string_view id, std::string_view bytes);
  void Delete(std::string_view table, std::string_view id);

  // The caller numbers events without gaps.
  template <typename Message>
  void AddEvent(uint64_t sequence, const Message& message) {
    AddEventBytes(sequence, message.SerializeAsString());
  }
  void AddEventBytes(uint64_t sequence, std::string_view bytes);

  // Adds all of `other` after what is here: how a committer joins many mutations into one synced write.
  void Append(RecordBatch other);

  bool empty() const { return batch_.empty(); }
  size_t num_bytes() const { return batch_.num_bytes(); }

 private:
  friend class RecordStore;
  WriteBatch batch_;
};

// Records by (table, id) and events by sequence number, over a KvStore that it borrows. Thread-safe.
class RecordStore {
 public:
  // `store` has passed CheckStoreFormat and outlives this.
  explicit RecordStore(KvStore* store) : store_(store) {}

  // One synced, atomic write. Errors as of KvStore::Write.
  absl::Status Commit(const RecordBatch& batch);

  // Calls `visit` for each record of all tables, in order of (table, id), over one view. The views passed are good
  // during the call. Stops at the first error of `visit` and returns it. DATA_LOSS names a record that cannot be read.
  using RecordVisitor =
      std::function<absl::Status(std::string_view table, std::string_view id, std::string_view bytes)>;
  absl::Status VisitAll(const RecordVisitor& visit) const;

  // The same for one table, parsed. DATA_LOSS names a record that is no `Message`.
  template <typename Message>
  absl::Status VisitTable(std::string_view table,
                          const std::function<absl::Status(std::string_view id, Message message)>& visit) const;

  // The bytes of one record, or nothing.
  absl::StatusOr<std::optional<std::string>> Get(std::string_view table, std::string_view id) const;

  struct Event {
    uint64_t sequence = 0;
    std::string bytes;  // a serialized message
  };
  // At most `limit` > 0 events with sequence >= `begin_sequence`, in order.
  absl::StatusOr<std::vector<Event>> ReadEvents(uint64_t begin_sequence, int64_t limit) const;
  // The greatest sequence number, or nothing if there are no events.
  absl::StatusOr<std::optional<uint64_t>> LastEventSequence() const;

 private:
  absl::Status VisitRange(const KeyRange& range, const RecordVisitor& visit) const;
  static absl::Status Unparsable(std::string_view table, std::string_view id);

  KvStore* const store_;
};

template <typename Message>
absl::Status RecordStore::VisitTable(
    std::string_view table, const std::function<absl::Status(std::string_view id, Message message)>& visit) const {
  return VisitRange(PrefixRange(RecordTablePrefix(table)),
                    [&visit](std::string_view visited_table, std::string_view id, std::string_view bytes) {
                      Message message;
                      if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
                        return Unparsable(visited_table, id);
                      }
                      return visit(id, std::move(message));
                    });
}

}  // namespace ursa

#endif  // URSA_STORAGE_RECORD_STORE_H_
