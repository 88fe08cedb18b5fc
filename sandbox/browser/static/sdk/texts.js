// The sentences of PortOne's own script, letter for letter, and what this script needs to know of the browser.

const TEXTS = {
  notInitialised: "판매자 코드가 설정되지 않았습니다. IMP.init()함수를 먼저 호출하세요.",
  noParameters: "결제요청 파라메터가 누락되었습니다.",
  noChannel: "등록되지 않은 PG모듈 정보입니다. 아임포트 관리자페이지에서 PG모듈 정보를 설정하신 후 다시 시도해주세요.",
  broken: "결제모듈 구동 중에 오류가 발생하였습니다. 페이지 새로고침 후 다시 시도해주세요.\n",
  popupBlocked: "팝업차단을 해제해주셔야 결제창이 나타납니다.",
  noContainer: "portone-ui-container를 찾을 수 없습니다.",
  wrongType: "data-portone-ui-type에 올바른 UI 타입을 입력해주세요.",
  sameTypeTwice: "동일한 data-portone-ui-type을 갖는 DOM element가 2개 이상 존재합니다.",
};

const POPUP_NAME = "imp-popup";
const POPUP_FEATURES = "popup,width=480,height=760";
const CLOSED_POPUP_POLL_MS = 100;

function device() {
  return /Mobi|Android|iPhone|iPad|iPod/i.test(navigator.userAgent) ? "mobile" : "pc";
}
