// JSON values as scripts read them: every number is a JSON number, also 64-bit ones; members keep their order.
#ifndef URSA_CLIENT_CLI_JSON_H_
#define URSA_CLIENT_CLI_JSON_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ursa::cli {

// One JSON value. A value type; not thread-safe.
class Json {
 public:
  Json() = default;  // null
  Json(const char* text) : kind_(Kind::kString), text_(text) {}
  Json(std::string text) : kind_(Kind::kString), text_(std::move(text)) {}
  Json(std::string_view text) : kind_(Kind::kString), text_(text) {}
  Json(bool value) : kind_(Kind::kLiteral), text_(value ? "true" : "false") {}
  template <typename T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>, int> = 0>
  Json(T value) : kind_(Kind::kLiteral), text_(std::to_string(value)) {}
  // The shortest digits that read back as the same double. JSON has no word for NaN and infinities: they become null.
  Json(double value);

  static Json Array();
  static Json Object();

  // Appends to an array. Returns itself.
  Json& Append(Json value);

  // Sets a member of an object; one of the same name is replaced in its place. Returns itself.
  Json& Set(std::string_view name, Json value);

  // A member of an object, or nullptr.
  const Json* Find(std::string_view name) const;

  // The text on one line. Strings are escaped; bytes that are no UTF-8 become U+FFFD.
  std::string Dump() const;

 private:
  enum class Kind { kNull, kLiteral, kString, kArray, kObject };
  void AppendTo(std::string* out) const;

  Kind kind_ = Kind::kNull;
  std::string text_;                                   // of kLiteral and kString
  std::vector<std::pair<std::string, Json>> members_;  // of kObject, and of kArray with empty names
};

}  // namespace ursa::cli

#endif  // URSA_CLIENT_CLI_JSON_H_
