# Counterfoil이 보여 주는 모든 화면의 문구(한국어).
# en.ftl과 id와 변수가 똑같아야 하며, 테스트가 둘을 비교합니다.

## 모든 화면

need-help = 도움이 필요하십니까?
company-account = 회사 계정
sign-in = 로그인
sign-in-again = 다시 로그인
sign-out = 로그아웃

## 로그인 방법 선택

chooser-title = 로그인
chooser-intro = 업무에 사용하는 계정을 선택해 주십시오.
chooser-empty = 아직 사용할 수 있는 로그인 방법이 없습니다. 서비스 담당자에게 알려 주십시오.
sign-in-with = { $provider } 로그인
password-heading = 비밀번호 안내
password-note = 비밀번호는 회사 계정의 로그인 화면에서만 입력합니다. { $product }에는 전달되지 않습니다.

## 로그아웃한 뒤

signed-out-complete-title = 로그아웃되었습니다
signed-out-complete-text = 이 서비스의 세션이 종료되었고, 회사 계정에서도 로그아웃되었습니다.
signed-out-local-title = 이 서비스에서 로그아웃되었습니다
signed-out-local-text = 이 서비스의 세션은 종료되었지만, 이 브라우저에는 회사 계정이 아직 로그인되어 있을 수 있습니다. 공용 컴퓨터라면 회사 계정에서도 로그아웃해 주십시오.
signed-out-none-title = 로그인된 상태가 아닙니다
signed-out-none-text = 이 브라우저에는 종료할 세션이 없었습니다. 공용 컴퓨터라면 회사 계정에서도 로그아웃되었는지 확인해 주십시오.
state-signed-out = 로그아웃됨
state-maybe-signed-in = 아직 로그인되어 있을 수 있음
state-not-signed-in = 로그인되어 있지 않음

## 세션이 저절로 끝났을 때

session-ended-title = 세션이 종료되었습니다
session-ended-text = 사용 시간 만료 또는 보안상의 이유로 세션이 종료되었습니다. 다시 로그인하면 보려던 페이지로 돌아갑니다.
state-session-ended = 세션 종료됨
state-nothing-lost = 그대로 유지됨

## 세션이 너무 많을 때

too-many-sessions-title = 로그인된 곳이 너무 많습니다
too-many-sessions-text = 동시에 사용할 수 있는 세션 수에 도달했습니다. 종료할 세션을 하나 선택하면 여기에서 로그인할 수 있습니다.
too-many-sessions-heading = 세션을 종료해야 하는 이유
too-many-sessions-note = 사용하지 않는 세션을 남겨 두면 보안상 위험할 수 있습니다. 여기에서 세션을 종료하면 해당 브라우저는 즉시 로그아웃됩니다.
end-session-last-used = 마지막 사용: { $time } — 이 세션 종료

## 시각

moment-just-now = 방금
moment-minutes-ago = { $count }분 전
moment-hours-ago = { $count }시간 전
moment-days-ago = { $count }일 전

## 다른 탭을 위해 로그인한 뒤

signed-in-title = 로그인되었습니다
signed-in-text = 이 탭은 닫으셔도 됩니다.
signed-in-close = 양식을 보내던 중이었다면 원래 탭으로 돌아가 새로 고침해 주십시오. 입력하신 내용이 다시 전송됩니다.

## 로그아웃하기 전

confirm-logout-title = 로그아웃하시겠습니까?
confirm-logout-unknown = 지금은 세션 정보를 확인할 수 없습니다. 로그아웃하시면 이 브라우저에서는 로그인 정보가 지워지지만, 서버의 세션 기록은 만료될 때까지 남아 있을 수 있습니다.
confirm-logout-text = 저장하지 않은 내용은 사라질 수 있습니다. 언제든지 다시 로그인할 수 있습니다.
signed-in-as = 로그인한 계정
stay-signed-in = 로그아웃하지 않기

## 여기에서 로그아웃한 뒤, 회사 계정에서 로그아웃하기 전

sign-out-there-title = 여기에서는 로그아웃되었습니다
sign-out-there-text = 회사 계정에는 아직 로그인되어 있을 수 있습니다. 공용 컴퓨터라면 회사 계정에서도 로그아웃해 주십시오.
sign-out-there = 회사 계정에서도 로그아웃
stay-signed-in-there = 회사 계정은 로그인 유지

## 오류: 공통 문구

error-reference = 문의 번호
error-reference-hint = 문의하실 때 이 번호를 알려 주십시오.
error-support = 문의처
error-code = 코드
try-again = 다시 시도
go-home = 첫 화면으로 이동
go-on = 이 계정으로 계속
sign-in-other = 다른 계정으로 로그인

## 늦게 보낸 양식

late-form-title = 입력하신 내용은 아직 남아 있습니다
late-form-text = 아직 처리되지 않았으며, 이 브라우저 탭에 그대로 보관되어 있습니다.
late-form-sign-in = 새 탭에서 로그인
late-form-reload = 로그인한 뒤 이 탭으로 돌아와 새로 고침해 주십시오. 양식을 다시 보낼지 묻는 창이 나타나면 다시 보내기를 선택해 주십시오.
late-form-instead = 입력한 내용이 더 이상 필요하지 않다면:

## 오류: 세션

error-unsaved-note = 저장하지 않은 내용은 다시 입력해야 할 수 있습니다.

error-session-missing-title = 로그인이 필요합니다
error-session-missing-advice = 로그인한 사용자만 볼 수 있는 페이지입니다. 계속하려면 회사 계정으로 로그인해 주십시오.

error-session-idle-title = 오랫동안 사용하지 않아 로그아웃되었습니다
error-session-idle-advice = 오랫동안 사용하지 않아 보안을 위해 세션을 종료했습니다. 이어서 사용하려면 다시 로그인해 주십시오.

error-session-expired-title = 세션 사용 시간이 만료되었습니다
error-session-expired-advice = 보안을 위해 모든 세션은 사용 중이라도 정해진 시간이 지나면 종료됩니다. 이어서 사용하려면 다시 로그인해 주십시오.

error-session-revoked-title = 세션이 종료되었습니다
error-session-revoked-advice = 이 서비스의 보안 담당자가 세션을 종료했습니다. 다시 로그인할 수 있으며, 이때 비밀번호를 입력해야 할 수 있습니다. 예상하지 못한 일이라면 보안 담당자에게 문의해 주십시오.

error-session-displaced-title = 다른 곳에서 로그인했습니다
error-session-displaced-advice = 동시에 사용할 수 있는 세션 수가 정해져 있어, 새로 로그인하면서 이 세션이 종료되었습니다. 직접 로그인하지 않았다면 이 서비스의 보안 담당자에게 알려 주십시오.

error-session-ended-elsewhere-title = 다른 브라우저에서 이 세션이 종료되었습니다
error-session-ended-elsewhere-advice = 여기에서 계속하려면 다시 로그인해 주십시오. 직접 종료하지 않았다면 이 서비스의 보안 담당자에게 알려 주십시오.

error-session-ended-by-provider-title = 회사 계정에서 로그아웃되었습니다
error-session-ended-by-provider-advice = 회사 계정에서 로그아웃했거나 계정이 변경되었거나 잠겨 이 세션도 종료되었습니다. 계속하려면 다시 로그인해 주십시오. 예상하지 못한 일이라면 이 서비스의 보안 담당자에게 알려 주십시오.

error-login-overtaken-title = 로그인을 다시 시작해 주십시오
error-login-overtaken-advice = 로그인하는 동안 보안을 위해 기존 세션이 종료되어, 진행 중이던 로그인도 더 이상 유효하지 않습니다. 바로 다시 시작할 수 있습니다.

error-login-blocked-title = 지금은 로그인할 수 없습니다
error-login-blocked-advice = 이 서비스의 보안 담당자가 이 계정의 로그인을 일시 중지했습니다. 보안 담당자에게 문의해 주십시오.

error-login-too-old-title = 한 번 더 로그인해 주십시오
error-login-too-old-advice = 이 페이지는 방금 본인 확인을 마친 사용자만 볼 수 있습니다. 세션은 그대로 유지됩니다. 다시 로그인한 뒤 페이지를 열거나 양식을 다시 보내 주십시오.

error-forbidden-title = 이 페이지를 볼 권한이 없습니다
error-forbidden-advice = 로그인은 되어 있지만 이 계정에는 접근 권한이 없습니다. 권한이 있는 다른 계정이 있다면 그 계정으로 로그인해 주십시오. 없다면 애플리케이션 담당자에게 권한을 요청해 주십시오.

error-store-unavailable-title = 지금은 세션을 확인할 수 없습니다
error-store-unavailable-advice = 저희 쪽 문제입니다. 로그아웃된 것은 아니니 잠시 후 다시 시도해 주십시오.

## 오류: 로그인

error-logout-incomplete-title = 로그아웃을 마치지 못했습니다
error-logout-incomplete-advice = 이 브라우저에서는 로그인 정보가 지워졌지만, 서버에 있는 세션 기록을 삭제하지 못해 만료될 때까지 세션이 남아 있을 수 있습니다. 공용 컴퓨터이거나 기기를 분실하신 경우 관리자에게 알려 주십시오.

error-idp-unavailable-title = 로그인 서비스가 응답하지 않습니다
error-idp-unavailable-advice = 회사 계정을 관리하는 서비스에 연결할 수 없습니다. 사용자의 잘못이 아니니 몇 분 뒤 다시 시도해 주십시오.

error-login-failed-title = 로그인을 마치지 못했습니다
error-login-failed-advice = 회사 로그인 서비스에서 받은 응답을 신뢰할 수 없어 로그인을 마치지 않았습니다. 처음부터 다시 시도해 주십시오. 같은 문제가 계속되면 이 화면의 문의 번호를 담당자에게 알려 주십시오.

error-login-put-off-title = 로그인 서비스에 문제가 있습니다
error-login-put-off-advice = 회사 로그인 서비스에서 지금은 로그인할 수 없다고 응답했습니다. 사용자의 잘못이 아니니 몇 분 뒤 다시 시도해 주십시오.

error-login-refused-title = 로그인이 완료되지 않았습니다
error-login-refused-advice = 로그인이 취소되었거나 회사 로그인 서비스에서 허용하지 않았습니다. 다시 시도할 수 있습니다. 그래도 로그인되지 않으면 회사 계정 담당자에게 문의해 주십시오.

error-login-expired-title = 로그인을 다시 시작해 주십시오
error-login-expired-advice = 시간이 너무 오래 걸렸거나, 이미 사용되었거나, 다른 브라우저에서 시작한 로그인입니다. 이 브라우저에서 다시 시작해 주십시오. 이 사이트의 쿠키가 허용되어 있어야 합니다.

error-login-loop-title = 로그인이 되풀이되고 있습니다
error-login-loop-advice = 30초 사이에 여러 번 로그인되었지만 그때마다 로그인 화면으로 되돌아왔습니다. 브라우저가 이 사이트의 쿠키를 저장하는지 확인한 뒤 다시 시도해 주십시오. 계속되면 어느 화면에서 그랬는지 담당자에게 알려 주십시오.

error-login-not-fresh-title = 방금 로그인했는지 확인하지 못했습니다
error-login-not-fresh-advice = 세션이 종료되었거나 열려는 페이지에서 요구하기 때문에 새로 로그인해야 합니다. 그런데 회사 로그인 서비스가 방금 로그인했다고 알려 주지 않았습니다. 처음부터 다시 시도해 주십시오. 같은 문제가 계속되면 이 화면의 문의 번호를 담당자에게 알려 주십시오.

error-stronger-login-needed-title = 이 페이지는 더 강력한 로그인이 필요합니다
error-stronger-login-needed-advice = 회사 로그인 서비스에는 로그인했지만, 2단계 인증처럼 이 페이지에서 요구하는 방식의 로그인이 아니었습니다. 다시 시작한 뒤, 선택할 수 있다면 그 방식으로 로그인해 주십시오. 아직 등록하지 않았다면 회사 계정 담당자에게 문의해 주십시오.

error-login-other-response-mode-title = 로그인 서비스가 다른 형식으로 응답했습니다
error-login-other-response-mode-advice = 회사 로그인 서비스가 약속된 형식으로 응답하지 않아 로그인을 받아들일 수 없었습니다. 관리자만 바로잡을 수 있으니 이 화면의 문의 번호를 관리자에게 전해 주십시오.

error-login-clock-title = 시계가 서로 맞지 않습니다
error-login-clock-advice = 저희 서버와 회사 로그인 서비스의 시각이 서로 달라 로그인을 받아들일 수 없었습니다. 관리자만 바로잡을 수 있으니 이 화면의 문의 번호를 관리자에게 전해 주십시오.

## 오류: 요청

error-bad-request-title = 요청을 이해하지 못했습니다
error-bad-request-advice = 빠진 내용이 있거나 형식이 맞지 않습니다. 이전 화면으로 돌아가 다시 시도해 주십시오.

error-ambiguous-path-title = 두 가지로 읽힐 수 있는 주소입니다
error-ambiguous-path-advice = 시스템마다 다르게 받아들이는 문자가 들어 있어 보안을 위해 전달하지 않았습니다. 애플리케이션 안의 링크로 다시 열어 주십시오.

error-not-found-title = 찾으시는 페이지가 없습니다
error-not-found-advice = 주소의 일부가 빠졌거나 페이지가 옮겨졌을 수 있습니다.

error-target-too-long-title = 주소가 너무 깁니다
error-target-too-long-advice = 이 주소는 그대로 열 수 없습니다. 검색어나 필터가 들어 있다면 한 번에 더 적게 선택해 주십시오.

error-headers-too-large-title = 이 사이트의 쿠키가 너무 많습니다
error-headers-too-large-advice = 브라우저 설정에서 { $site }의 쿠키를 상위 도메인의 쿠키까지 삭제한 뒤 페이지를 다시 열어 주십시오. 삭제하지 않고 다시 시도하면 같은 오류가 나타납니다.

error-wrong-host-title = 이 서비스의 주소가 아닙니다
error-wrong-host-advice = 지금 접속하신 주소로는 이 서비스를 이용할 수 없습니다. 회사에서 안내받은 링크를 사용하거나 담당자에게 올바른 주소를 문의해 주십시오.

error-method-not-allowed-title = 이 방식으로는 이용할 수 없는 페이지입니다
error-method-not-allowed-advice = 주소는 맞지만 이런 방식의 요청은 받지 않습니다. 이전 화면으로 돌아가 애플리케이션의 링크와 버튼을 이용해 주십시오.

error-cross-site-title = 다른 사이트에서 보낸 요청을 막았습니다
error-cross-site-advice = 다른 웹사이트가 사용자의 이름으로 요청을 보냈습니다. 요청을 막았으며 바뀐 것은 없습니다. 직접 하려던 일이라면 애플리케이션을 열어 진행해 주십시오.

error-request-timeout-title = 요청이 끝까지 도착하지 않았습니다
error-request-timeout-advice = 브라우저가 보내던 내용의 일부가 도착하지 않아 아무 작업도 처리하지 않았습니다. 연결 상태를 확인하고 다시 시도해 주십시오.

error-too-many-scans-title = 지금 다른 검색이 진행 중입니다
error-too-many-scans-advice = 너무 많은 사람이 동시에 모든 세션을 검색하고 있습니다. 몇 초 뒤에 다시 시도해 주십시오.

error-payload-too-large-title = 한 번에 보내기에는 너무 큽니다
error-payload-too-large-advice = 보내신 내용이 이 서비스가 받을 수 있는 크기를 넘었습니다. 더 작은 파일로 보내거나 나누어 보내 주십시오.

## 오류: 애플리케이션과 저희 서비스

error-upstream-unavailable-title = 애플리케이션이 응답하지 않습니다
error-upstream-unavailable-advice = 지금은 애플리케이션에 연결할 수 없습니다. 로그인 상태에는 영향이 없으니 몇 분 뒤 다시 시도해 주십시오. 저장하던 중이었다면 먼저 저장되었는지 확인해 주십시오.

error-too-many-streams-title = 열려 있는 연결이 너무 많습니다
error-too-many-streams-advice = 이 애플리케이션의 다른 탭을 닫고 몇 초 뒤에 다시 시도해 주십시오.
error-upstream-timeout-title = 애플리케이션의 응답 시간이 초과되었습니다
error-upstream-timeout-advice = 로그인 상태에는 영향이 없습니다. 요청하신 작업이 처리되었을 수도 있으니, 다시 시도하기 전에 먼저 확인해 주십시오.

error-internal-title = 저희 쪽에서 문제가 생겼습니다
error-internal-advice = 사용자의 잘못이 아닙니다. 다시 시도해 주십시오. 같은 문제가 되풀이되면 이 화면의 문의 번호를 담당자에게 알려 주십시오.

# 관리 API의 오류: 프로그램이 표시하고, 프로그램을 만드는 사람이 읽습니다.
error-token-invalid-title = 알 수 없는 토큰입니다
error-token-invalid-advice = Authorization 헤더의 토큰이 [admin] api_tokens에 없습니다. 빠지거나 바뀐 글자가 없는지 설정과 비교해 주십시오. 로그인한 브라우저는 Authorization 헤더를 보내지 않습니다.
error-csrf-token-invalid-title = 이 세션의 X-CSRF-Token이 아닙니다
error-csrf-token-invalid-advice = X-CSRF-Token의 값은 GET /sso/session이 같은 이름의 응답 헤더로 알려 줍니다. 로그인할 때마다 새로 받아 주십시오.
api-session-missing-title = 토큰도 세션도 없습니다
api-session-missing-advice = [admin] api_tokens의 토큰을 “Authorization: Bearer …”로 보내거나, 관리자 세션의 쿠키를 X-CSRF-Token과 함께 보내 주십시오.
api-session-ended-title = 세션이 끝났습니다
api-session-ended-advice = 관리자가 다시 로그인해야 합니다. 프로그램은 [admin] api_tokens의 토큰을 사용합니다.
api-login-too-old-title = 로그인을 갱신해야 합니다
api-login-too-old-advice = 제공자가 이 관리자를 다시 확인해야 합니다. “login”에 있는 주소를 브라우저에서 열어 주십시오.
api-forbidden-title = 허용되지 않았습니다
api-forbidden-advice = 호출자는 확인되었지만 이 일을 할 수 있는 그룹에 속해 있지 않습니다. 세션은 [admin] groups, 타임아웃은 ops_groups, 그룹을 믿을 제공자는 idps로 정합니다.
api-store-unavailable-title = 저장소에 물어볼 수 없습니다
api-store-unavailable-advice = Redis가 응답하지 않았거나 받아들이지 않았습니다. 요청한 일이 일부만 처리되었을 수 있으며, 다시 보내도 안전합니다.
api-bad-request-title = 요청을 읽을 수 없습니다
api-bad-request-advice = GET /sso/api/v1/openapi.json을 참고해 주십시오.
api-not-found-title = 찾을 수 없습니다
api-not-found-advice = 그런 주소나 살아 있는 세션이 없습니다. 주소는 GET /sso/api/v1/openapi.json에 있습니다.
api-method-not-allowed-title = 다른 메서드를 사용해야 합니다
api-method-not-allowed-advice = 주소마다 쓸 수 있는 메서드는 GET /sso/api/v1/openapi.json에 있습니다.
api-cross-site-title = 브로커의 페이지에서 보낸 요청이 아닙니다
api-cross-site-advice = Origin이나 Sec-Fetch-Site가 다른 사이트의 것입니다. 브라우저는 public_url에서만 API를 호출할 수 있고, 프로그램은 두 헤더 없이 토큰을 보냅니다.
api-too-many-scans-title = 모든 세션을 훑는 요청이 너무 많습니다
api-too-many-scans-advice = 이 브로커는 모든 세션을 훑는 필터 목록, 개수 세기, 시험 실행을 한 번에 두 개까지 처리합니다. Retry-After 초 뒤에 다시 보내거나 한 사람을 지정해 주십시오.
api-internal-title = 브로커의 결함입니다
api-internal-advice = 원인은 로그에 request_id로 남아 있습니다.
