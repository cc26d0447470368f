#include "bench/http_get.h"

#include <boost/asio/io_context.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace markab::bench {

namespace {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

constexpr auto kTimeout = std::chrono::seconds(5);
constexpr size_t kMaxBody = 64u << 20;
}  // namespace

Result<std::string> http_get(HostPort node, const std::string& target) {
  // The stream's timeouts work in the asynchronous calls only, so each step is one of those, run to
  // its end.
  asio::io_context context;
  beast::tcp_stream stream(context);
  beast::error_code error;
  auto run = [&](auto start) {
    stream.expires_after(kTimeout);
    start([&](beast::error_code e, auto&&...) { error = e; });
    context.restart();
    context.run();
    return !error;
  };
  auto failed = [&](std::string_view step) {
    return Status(error == beast::error::timeout ? Errc::kTimeout : Errc::kNetworkFailure,
                  fmt::format("GET http://{}{}: {}: {}", node, target, step, error.message()));
  };
  asio::ip::tcp::endpoint endpoint(asio::ip::address_v4(node.ipv4), node.port);
  if (!run([&](auto done) { stream.async_connect(endpoint, done); })) return failed("connect");
  http::request<http::empty_body> request(http::verb::get, target, 11);
  request.set(http::field::host, node.to_string());
  request.set(http::field::connection, "close");
  if (!run([&](auto done) { http::async_write(stream, request, done); })) return failed("send");
  beast::flat_buffer buffer;
  http::response_parser<http::string_body> parser;
  parser.body_limit(kMaxBody);
  if (!run([&](auto done) { http::async_read(stream, buffer, parser, done); }))
    return failed("read");
  if (parser.get().result() != http::status::ok) {
    return Status(Errc::kHttpError, fmt::format("GET http://{}{} was answered with {}", node,
                                                target, parser.get().result_int()));
  }
  return std::move(parser.get().body());
}

}  // namespace markab::bench
