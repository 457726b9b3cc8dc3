// A strict JSON reader (RFC 8259), for safetensors headers and golden files. No extensions; depth and size limited.
#ifndef URSA_WORKER_NN_JSON_H_
#define URSA_WORKER_NN_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ursa {

// A parsed value. Objects keep their members in file order; repeated names are an error of the parser. Reading a value
// as another type than its own is a bug and ends the process: check type() where the file is not trusted.
class Json {
 public:
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };
  using Member = std::pair<std::string, Json>;

  // The value of `text`, which holds nothing else but white space. Errors: INVALID_ARGUMENT with the byte offset.
  static absl::StatusOr<Json> Parse(std::string_view text, int depth_max = 64);

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::kNull; }
  bool is_string() const { return type_ == Type::kString; }
  bool is_number() const { return type_ == Type::kNumber; }
  bool is_array() const { return type_ == Type::kArray; }
  bool is_object() const { return type_ == Type::kObject; }
  bool boolean() const;
  double number() const;
  // Whether the number is written as an integer without sign, and fits; then its exact value.
  bool AsUint64(uint64_t* value) const;
  const std::string& string() const;
  const std::vector<Json>& array() const;
  const std::vector<Member>& members() const;

  // The member `name`, or null if there is none.
  const Json* Find(std::string_view name) const;
  // The member `name`, which must be there.
  const Json& operator[](std::string_view name) const;
  // The element `index` of an array, which must be there.
  const Json& operator[](size_t index) const;
  size_t size() const { return type_ == Type::kObject ? members_.size() : array_.size(); }

 private:
  friend class JsonParser;
  Type type_ = Type::kNull;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;  // of a string; of a number, as written
  std::vector<Json> array_;
  std::vector<Member> members_;
};

// `text` as a JSON string, in quotes, everything outside printable ASCII but valid UTF-8 kept as it is.
std::string JsonQuote(std::string_view text);

}  // namespace ursa

#endif  // URSA_WORKER_NN_JSON_H_
